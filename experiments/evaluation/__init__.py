"""How much a careless split flatters a classifier, on real clips."""
