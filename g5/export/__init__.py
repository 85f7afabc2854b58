"""Models and vectors that leave: ONNX graphs, databases of perch-hoplite."""
