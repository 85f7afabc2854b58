"""Networks and what trains them; knows no files."""
