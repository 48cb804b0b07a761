"""Online classification of event streams."""

from .classifier import OnlineClassifier

__all__ = ["OnlineClassifier"]
