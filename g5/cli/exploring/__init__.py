"""Commands that look into a store of embeddings."""

FIRST = ("search", "cluster", "map", "explain", "label")
