"""The verbs of `g5`, by room: arguments and help; each calls into `jobs`."""
