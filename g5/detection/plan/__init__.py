"""Will I find it? Shots pasted into the gaps at known ratios, and what is found of them."""
