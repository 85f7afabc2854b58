"""Data sets as commands see them: what is there, features, downloads, splits."""
