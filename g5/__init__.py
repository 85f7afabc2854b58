"""Few-shot bioacoustics: from five marked calls to every call."""
