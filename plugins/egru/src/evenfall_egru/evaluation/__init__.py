"""Perplexity, activity and operation counts."""

from .perplexity import evaluate_tokens

__all__ = ["evaluate_tokens"]
