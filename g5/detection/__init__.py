"""Five calls in, every further call in a long recording out."""
