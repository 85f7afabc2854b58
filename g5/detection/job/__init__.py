"""One run of `g5 detect`: what it reads, what became of every recording, what it writes."""
