"""Remove weights at once."""
