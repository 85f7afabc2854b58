"""How many answers a review needs, and what a threshold asked for by precision gives."""
