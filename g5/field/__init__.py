"""A season of recordings: when and where they were made, how much was heard, what called."""
