"""The search for settings by cross-validation."""
