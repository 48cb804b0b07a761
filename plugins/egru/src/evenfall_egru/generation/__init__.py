"""Text as it is generated, and how fast."""
