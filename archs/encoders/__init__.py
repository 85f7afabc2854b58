"""Encoders beside the few-shot ones: small CNNs, wav2vec 2.0, and plain acoustics."""
