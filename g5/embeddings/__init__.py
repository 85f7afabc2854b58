"""Embeddings: encoders by name, the store of vectors, projection, search."""
