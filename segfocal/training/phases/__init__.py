"""Fine-tuning in phases: what is trained when, and how fast."""
