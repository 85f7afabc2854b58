"""Is v2 better than v1 on real sound? Trainings, tests, ablations and the tables of them."""
