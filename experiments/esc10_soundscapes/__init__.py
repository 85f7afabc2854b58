"""Five calls of an ESC-10 class in, every further one out: soundscapes mixed from real clips."""
