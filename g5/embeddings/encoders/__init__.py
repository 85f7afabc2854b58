"""Encoders by name: from what a user types to something that turns waveforms into embeddings."""
