"""The check that all readers of an image use."""

from __future__ import annotations


def want(holds: bool, problem: str) -> None:
    """Raise ValueError with the problem unless the condition holds."""
    if not holds:
        raise ValueError(problem)
