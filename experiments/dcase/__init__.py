"""The DCASE 2024 development set, from its folders to the official table."""
