"""Where a model can be cut into blocks: a test on its autograd graph."""

from .leaks import LeakReport, check_leaks
from .result import Block, Split, SplitError
from .split import split_blocks

__all__ = ["Block", "LeakReport", "Split", "SplitError", "check_leaks", "split_blocks"]
