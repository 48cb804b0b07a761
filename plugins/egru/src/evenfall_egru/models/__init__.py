"""The EGRU models for transformers; these files also travel with published checkpoints."""
