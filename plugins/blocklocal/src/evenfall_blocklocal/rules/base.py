"""What every rule shares: its options, and the interface that BlockLocal calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn

from evenfall.checks import check_choice, check_integer, check_number, check_share
from evenfall.errors import closest, shorten

from ..families import FAMILIES
from ..features import Features, FeatureShape
from ..feedback import FEEDBACKS
from ..targets import Targets


@dataclass(frozen=True)
class RuleOptions:
    """Options of the rules. An option that a rule does not use has no effect.

    Attributes:
        family: "bernoulli", "categorical" or "gaussian"; None for Bernoulli, or for Gaussian if
            there are more than 1,000 classes or tokens.
        feedback: "chained" from the target through all later blocks, or "direct" to each one, which
            is better with more than 8 blocks.
        latent: natural parameters of each block.
        hidden: units of the hidden layer of a head.
        head_depth: linear layers of a head: 2, 1, or 0 for the pooled channels themselves.
        grid: rows and columns to which heads pool images.
        agreement: weight of the agreement term J ("bll").
        bootstrap: share m of the posterior in what the next block is fed ("bll" with head_depth 0).
            The posterior knows the target, so the next block learns to read it from there.
        similarity: weight of the similarity loss ("predsim").
        samples: for targets of tokens, the random tokens that a block scores beside those of the
            batch; None for all, but for 256 if there are more than 1,000 and the family is not
            Gaussian ("bll", "local-ce", "dgl-man", "overlap").
        momentum: of the moving average of the next block's first layer ("dgl-man").
    """

    family: str | None = None
    feedback: str = "chained"
    latent: int = 64
    hidden: int = 256
    head_depth: int = 2
    grid: tuple[int, int] = (2, 2)
    agreement: float = 0.0
    bootstrap: float = 0.0
    similarity: float = 0.99
    samples: int | None = None
    momentum: float = 0.995

    def __post_init__(self) -> None:
        if self.family is not None:
            check_choice("family", self.family, FAMILIES)
        check_choice("feedback", self.feedback, FEEDBACKS)
        for name in ("latent", "hidden"):
            check_integer(name, getattr(self, name), 1)
        check_integer("head_depth", self.head_depth, 0, 3)
        if self.samples is not None:
            check_integer("samples", self.samples, 1)
        grid = self.grid
        if not isinstance(grid, tuple | list) or len(grid) != 2:
            raise ValueError(f"grid must be two positive integers, got {shorten(grid)}")
        for index, number in enumerate(grid):
            check_integer(f"grid[{index}]", number, 1)
        for name in ("bootstrap", "similarity", "momentum"):
            check_share(name, getattr(self, name))
        check_number("agreement", self.agreement)
        if self.bootstrap and self.head_depth:
            raise ValueError(
                "bootstrap feeds natural parameters to the next block, so they must be the block's "
                f"own channels: head_depth must be 0, got {self.head_depth}"
            )


def make_options(values: dict[str, Any]) -> RuleOptions:
    """The options of those names.

    Raises:
        ValueError: an unknown name or a value out of range.
    """
    known = [field.name for field in fields(RuleOptions)]
    for name in values:
        if name not in known:
            raise ValueError(f"unknown option {shorten(name)}.{closest(name, known)}")
    return RuleOptions(**values)


@dataclass(frozen=True)
class Setting:
    """What a rule is built for.

    Attributes:
        shapes: layout of the features of each local block, all but the last one.
        targets: the kind of targets.
        options: of the rule.
        model: the model.
        boundaries: the modules after which the local blocks end.
        call: arguments of a small call of the model.
    """

    shapes: Sequence[FeatureShape]
    targets: Targets
    options: RuleOptions
    model: nn.Module
    boundaries: Sequence[str]
    call: Any


class Rule(nn.Module):
    """A rule of learning. This one gives the inner blocks no loss.

    Attributes:
        detaches: whether no gradient passes from a block to the one before it.
        waits: whether local losses need the error of the output, so that all activations are kept.
        reads_next: whether a block's loss depends on the forward weights of other blocks.
        reads_target: whether local losses read the target; else only the last loss does.
    """

    detaches = True
    waits = False
    reads_next = False
    reads_target = False

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.targets, self.options = setting.targets, setting.options

    def begin(self, target: Tensor) -> None:
        """Prepare a step, before the forward pass."""

    def loss(self, index: int, features: Features, target: Tensor) -> Tensor | None:
        """The loss of local block `index`, or None if it has none."""
        return None

    def pass_on(self, index: int, values: Tensor, target: Tensor) -> Tensor:
        """What the next block is fed instead of the detached `values`."""
        return values

    def late_loss(self, index: int, features: Features, error: Tensor) -> Tensor | None:
        """The loss of a block, given the gradient of the final loss at the model's output."""
        return None

    def end(self) -> None:
        """Forget what belongs to the step."""

    def parts(self, index: int) -> list[nn.Module]:
        """The modules that belong to local block `index` alone, such as its head."""
        return []
