"""Sound and annotations in, features and episodes out; knows no neural network."""
