"""Mamba that takes the time or place of each token."""
