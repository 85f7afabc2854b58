"""Commands about events in long recordings."""
