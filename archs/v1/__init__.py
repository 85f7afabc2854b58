"""Version 1: the convolutional ProtoNet."""
