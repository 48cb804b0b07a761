"""The version of evenfall-core."""

__version__ = "0.1.0"
