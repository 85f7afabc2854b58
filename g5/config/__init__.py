"""Every number a user may change: YAML defaults, their schema, and the checks on both."""
