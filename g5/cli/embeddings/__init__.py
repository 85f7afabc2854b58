"""Commands that make embeddings, and heads on them."""

FIRST = ("embed", "import", "classify", "predict", "verify", "finetune", "encoders")
