"""What a recording sounds like: its features in the store, windows over it, their embeddings."""
