"""Count what a model stores and computes."""
