"""The `g5` command: one module a command, with its arguments and one call into a package."""
