"""Checkpoint folders to publish."""
