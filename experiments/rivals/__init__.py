"""The encoder that comes with g5 beside others."""
