"""One module per job of the `g5` command: the wiring of the rooms, and what is printed."""
