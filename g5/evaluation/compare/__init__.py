"""Do tested runs differ: paired over the same episodes."""
