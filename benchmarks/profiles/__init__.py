"""Where time goes: of whole jobs, and of the front end."""
