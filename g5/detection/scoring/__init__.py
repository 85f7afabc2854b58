"""Ways to score how much a recording sounds like a species, and what is learnt for that."""
