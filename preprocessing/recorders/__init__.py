"""When and where a recording was made: what recorders write, name their files, and were told."""
