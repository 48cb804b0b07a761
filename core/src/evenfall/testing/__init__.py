"""Test batteries for plugin authors: subclass one in a test file and run pytest.

`evenfall.testing.kernels` holds a backend to its reference; `evenfall.testing.recurrent` holds a
recurrent language model to what transformers relies on. They need pytest and torch, the second
transformers too.
"""
