"""The rules of learning, by name."""

from __future__ import annotations

from .alignment import Dfa, Fa
from .base import Rule, RuleOptions, Setting, make_options
from .neighbours import DglMan, Overlap
from .predicted import LocalPrediction, PredSim
from .scored import Bll, BllKl


class Backprop(Rule):
    """ "backprop": the whole model learns from the last loss."""

    detaches = False
    reads_next = True


class Frozen(Rule):
    """ "frozen": only the last block learns. A baseline: what local learning adds to it."""


RULES: dict[str, type[Rule]] = {
    "bll": Bll,
    "bll-kl": BllKl,
    "local-ce": LocalPrediction,
    "predsim": PredSim,
    "dgl-man": DglMan,
    "overlap": Overlap,
    "dfa": Dfa,
    "fa": Fa,
    "backprop": Backprop,
    "frozen": Frozen,
}


__all__ = [
    "RULES",
    "Fa",
    "Overlap",
    "Rule",
    "RuleOptions",
    "Setting",
    "make_options",
]
