"""A person looks at what was found: which event is next, what the answers say, a table of them."""
