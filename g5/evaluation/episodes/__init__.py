"""How good is an encoder: episodes answered, scored, calibrated and checked."""
