"""Commands about recordings and their annotations."""

FIRST = ("features", "data")
