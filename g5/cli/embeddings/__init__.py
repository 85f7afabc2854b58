"""Commands that make embeddings, and heads on them."""

FIRST = ("embed", "import", "classify", "predict", "export", "verify", "finetune", "encoders")
