"""Whole networks, and how they are saved and loaded."""
