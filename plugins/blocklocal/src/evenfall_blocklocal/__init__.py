"""Block-local learning: train a model in blocks between which no gradient flows."""

from .local import BlockLocal
from .outputs import LocalOutput
from .rules import RULES, RuleOptions
from .splitting import Block, LeakReport, Split, SplitError, check_leaks, split_blocks

__all__ = [
    "RULES",
    "Block",
    "BlockLocal",
    "LeakReport",
    "LocalOutput",
    "RuleOptions",
    "Split",
    "SplitError",
    "check_leaks",
    "split_blocks",
]
__version__ = "0.1.0"
