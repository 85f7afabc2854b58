"""How good is it: protocols, intervals, baselines, figures."""
