"""Shallow heads on embeddings: trained, compared, kept."""
