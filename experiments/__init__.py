"""Results on real recordings, each with the command that reproduces its table."""
