"""How good are detected events: matching, scores, errors, ground truth."""
