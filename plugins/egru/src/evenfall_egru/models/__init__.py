"""The EGRU models for transformers. Published checkpoints contain copies of these files."""
