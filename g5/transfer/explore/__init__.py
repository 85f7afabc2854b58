"""Looking into embeddings: clusters, maps, explanations, verification."""
