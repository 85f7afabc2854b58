"""Training: the one LightningModule, its loaders, and what is checked before it starts."""
