"""Pages and what they stand on: HTML, spectrogram tiles, the journal of answers."""
