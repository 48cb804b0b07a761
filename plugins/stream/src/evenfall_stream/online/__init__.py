"""Classification of an event stream while it arrives."""

from .classifier import OnlineClassifier

__all__ = ["OnlineClassifier"]
