"""Test batteries for plugin authors: subclass one in a test file and run pytest.

`eventide.testing.kernels` holds a backend to its reference. The batteries need pytest and torch.
"""
