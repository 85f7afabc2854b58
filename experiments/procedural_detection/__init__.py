"""Five calls in, every call out: v1 and v2 beside template matching and an energy detector."""
