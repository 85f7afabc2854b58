"""Labelling clips in the browser while a model learns."""
