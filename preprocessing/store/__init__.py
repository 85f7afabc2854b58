"""The one store of arrays on disk."""
