"""Few labels of real sound on encoders that were trained on invented species only."""
