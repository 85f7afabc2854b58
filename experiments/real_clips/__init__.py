"""v1 and v2 trained on procedural species only, tested on real clips: ESC-10 and FSDD."""
