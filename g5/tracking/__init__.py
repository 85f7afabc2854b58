"""Where a run lives: its folder, its checkpoints, its record in MLflow."""
