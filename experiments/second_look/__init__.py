"""What a second look at an event counts for, learnt of soundscapes of invented species."""
