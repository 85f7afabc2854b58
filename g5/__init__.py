"""Few-shot bioacoustics: from five marked calls to every call."""

__version__ = "0.2.0"
