"""Commands that train and test."""

FIRST = ("train", "test", "sweep", "shots", "compare", "capacity", "ui")
