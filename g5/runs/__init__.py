"""Runs from a configuration to their record: train, test, shots, capacity, compare."""
