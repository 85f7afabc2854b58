"""A run's record in MLflow: where it lies, what is written and when, the page that shows it."""
