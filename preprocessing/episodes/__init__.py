"""Episodes and batches: which calls, and the clips that go with them."""
