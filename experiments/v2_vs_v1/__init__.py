"""Is v2 better than v1 on real sound? Trainings, tests and the tables of them."""
