"""The figures of a run, in one style; a module for each kind."""
