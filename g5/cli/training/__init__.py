"""Commands that train and test."""

FIRST = ("train", "test", "shots", "compare", "capacity", "ui")
