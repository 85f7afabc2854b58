"""The procedural world: invented species, their calls, scenes and recordings."""
