"""Version 2: residual blocks, squeeze-and-excitation, temporal attention, a learnable distance."""
