"""Test batteries for plugin authors: subclass one in a test file and run pytest.

`evenfall.testing.kernels` compares a backend with its reference. `evenfall.testing.recurrent` tests
that a recurrent language model does what transformers relies on. Both need pytest and torch; the
second also needs transformers. `evenfall.testing.damage` calls a reader with damaged files and
needs none of them.
"""
