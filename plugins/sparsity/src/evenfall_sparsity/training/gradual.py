"""Gradual pruning: more weights are removed at each event of a ramp, the rest is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evenfall.checks import check_choice, check_flag, check_integer, check_number, check_share

from ..pruning.blocks import Block
from ..pruning.one_shot import SCOPES, remove_smallest
from ..pruning.reorder import reorder_units
from ..pruning.targets import Target
from .base import SparseTraining
from .penalty import learning_rate, shrink_blocks
from .schedule import check_points, cubic, ramp

METHODS = ("magnitude", "movement")
_SHRINK_EVERY = 10  # steps; the penalty of ten is applied at once, which costs a tenth


class GradualPruning(SparseTraining):
    r"""Remove more and more weights on a cubic schedule while the model trains.

    .. math:: s_t = s_f + (s_i - s_f) \left(1 - \frac{t - t_0}{t_1 - t_0}\right)^3

    Before `begin` the model trains as it is; from `begin` to `end` weights are removed at every
    `every`-th step; after `end` the rest is trained on. Removed weights do not return.

    "movement" removes the weights that training moves towards zero: those with the smallest

    .. math:: S = -\sum_t w_t \frac{\partial L}{\partial w_t}

    summed since the start of training; of a block, the sum over its weights.

    Args:
        amount: the share of weights that are zero at the end.
        begin, end: up to 1 shares of all steps, above 1 numbers of steps.
        every: steps from one event to the next.
        initial: the share at `begin`; None for the share that is zero when training starts, so that
            a pruned model can be pruned further.
        scope, include, exclude, block: as in `prune`.
        reorder: first permute the hidden units as `prune` does, so that large weights share blocks.
            A model with removed blocks keeps its order, so that they stay together.
        method: "magnitude" or "movement".
        group_penalty: strength of a penalty on the L2 norms of blocks until `end`, applied as a
            proximal step of learning rate times strength. It prepares blocks for their removal.

    Raises:
        ValueError: an argument is out of range; in the first step, if `begin` is later than `end`,
            or `end` later than the last step.

    Sources: Zhu and Gupta 2017, arXiv 1710.01878; Sanh et al. 2020, arXiv 2005.07683 (movement);
    Lagunas et al. 2021, arXiv 2109.04838 (movement of blocks).
    """

    def __init__(
        self,
        amount: float,
        *,
        begin: float = 0.0,
        end: float = 0.5,
        every: int = 25,
        initial: float | None = None,
        scope: Literal["global", "layer"] = "global",
        include: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        block: Block | str = (1, 1),
        reorder: bool = False,
        method: Literal["magnitude", "movement"] = "magnitude",
        group_penalty: float = 0.0,
    ) -> None:
        super().__init__(include, exclude, block)
        check_share("amount", amount)
        if initial is not None:
            check_share("initial", initial)
            if initial > amount:
                raise ValueError(f"initial must not exceed amount, got {initial} and {amount}")
        check_points(begin, end)
        check_integer("every", every, 1)
        check_choice("scope", scope, SCOPES)
        check_choice("method", method, METHODS)
        check_number("group_penalty", group_penalty)
        check_flag("reorder", reorder)
        self.amount, self.begin, self.end, self.every = amount, begin, end, every
        self.initial, self.scope, self.method = initial, scope, method
        self.group_penalty, self.reorder = group_penalty, reorder
        self._start = 0.0
        self._movement: dict[str, Tensor] = {}

    def prepare(self, model: nn.Module) -> None:
        """As the base class; also reorder, read the initial share, and follow the movement."""
        super().prepare(model)
        if self.reorder and not self._share_removed():
            reorder_units(model, self.targets, self.block)
        share = min(self._share_removed(), self.amount)
        self._start = share if self.initial is None else self.initial
        self._movement = {}
        if self.method == "movement":
            for target in self.targets:
                self._follow(target)

    def _share_removed(self) -> float:
        """Of the blocks, as amounts are."""
        removed = blocks = 0
        for target in self.targets:
            norms = target.grid.norms(target.weight.detach())
            removed, blocks = removed + int((norms == 0).sum()), blocks + norms.numel()
        return removed / blocks

    def _follow(self, target: Target) -> None:
        weight = target.weight
        self._movement[target.name] = torch.zeros_like(weight, dtype=torch.float32)

        def add(optimizer: Any) -> None:
            gradient = _unscaled(optimizer, weight.grad)  # it is the sum over ranks
            if gradient is not None:
                moved = self._movement[target.name].to(weight.device)
                self._movement[target.name] = moved.sub_(weight.detach() * gradient)

        self.mask(target).before_step = add

    def update(self, step: int, total_steps: int, optimizer: Any) -> bool:
        """Remove weights at every `every`-th step of the ramp, and at its end."""
        begin, end = ramp(self.begin, self.end, total_steps)
        if self.group_penalty and step <= end and step % _SHRINK_EVERY == 0:
            for target in self.targets:
                rate = _SHRINK_EVERY * self.group_penalty * learning_rate(optimizer, target)
                shrink_blocks(target, rate)
        if step < begin or self.is_complete or (step < end and (step - begin) % self.every):
            return False
        amount = cubic(step, begin, end, self._start, self.amount)
        with torch.no_grad():
            remove_smallest(self.targets, self._scores(), amount, self.scope)
        self.is_complete = step >= end
        return True

    def _scores(self) -> list[Tensor]:
        if self.method == "magnitude":
            return [one.grid.norms(one.weight.detach()) for one in self.targets]
        return [
            one.grid.totals(self._movement[one.name].to(one.weight.device)) for one in self.targets
        ]

    def state_dict(self) -> dict[str, Any]:
        """As the base class, with the initial share and the movement."""
        return {**super().state_dict(), "initial": self._start, "movement": self._movement}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As the base class."""
        super().load_state_dict(state)
        self._start = state["initial"]
        self._movement = state["movement"]


def _unscaled(optimizer: Any, gradient: Tensor | None) -> Tensor | None:
    """The gradient; None if there is none or the step will be skipped.

    A gradient scaler leaves it to a fused optimiser to divide by the scale and to skip the step.
    """
    found = getattr(optimizer, "found_inf", None)
    if gradient is None or (found is not None and bool(found)):
        return None
    scale = getattr(optimizer, "grad_scale", None)
    return gradient if scale is None else gradient / scale.to(gradient.device)
