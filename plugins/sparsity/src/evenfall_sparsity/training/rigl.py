"""RigL: train with a constant number of weights; grow where the gradient is large."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evenfall.checks import check_choice, check_integer, check_share

from ..pruning.blocks import Block
from ..pruning.one_shot import SCOPES, remove_smallest
from ..pruning.scores import score
from ..pruning.selection import count_of, select_smallest
from ..pruning.targets import Target
from .base import SparseTraining, sum_over_ranks
from .schedule import check_points, steps_of

INITIAL = ("random", "magnitude")


class RigL(SparseTraining):
    r"""Sparse from the start: every `every` steps, drop small blocks and grow as many new ones.

    At step t, of the n blocks that a matrix has

    .. math:: k = \frac{f}{2} \left(1 + \cos \frac{\pi t}{T}\right) n

    with the smallest norms are dropped, and k of the removed ones with the largest gradients are
    grown; those that were just dropped are not. Grown weights start at zero. T is `end`, f the
    `fraction`. The gradients are those of one step. A matrix whose gradient is not finite there, as
    when a gradient scaler skips the step, stays as it is.

    Args:
        amount: the share of removed blocks.
        fraction: f, from 0 to 1.
        every: steps from one change to the next.
        end: T; up to 1 a share of all steps, above 1 a number of steps.
        initial: which blocks are removed at the start: "random", or those of the smallest
            "magnitude", for a trained model.
        scope: whether the first choice ranks blocks of all matrices, "global", or removes the same
            share of each, "layer". Later the number of blocks of a matrix does not change.
        include, exclude, block: as in `prune`.
        seed: of the random choice.

    Raises:
        ValueError: an argument is out of range.

    Source: Evci et al. 2020, arXiv 1911.11134.
    """

    def __init__(
        self,
        amount: float,
        *,
        fraction: float = 0.3,
        every: int = 100,
        end: float = 0.75,
        initial: Literal["random", "magnitude"] = "random",
        scope: Literal["global", "layer"] = "layer",
        include: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        block: Block | str = (1, 1),
        seed: int = 0,
    ) -> None:
        super().__init__(include, exclude, block)
        check_share("amount", amount)
        check_share("fraction", fraction)
        check_points(0, end)
        check_integer("every", every, 1)
        check_choice("initial", initial, INITIAL)
        check_choice("scope", scope, SCOPES)
        check_integer("seed", seed, 0, 2**64)
        self.amount, self.fraction, self.every, self.end = amount, fraction, every, end
        self.initial, self.scope, self.seed = initial, scope, seed
        self._gradients: dict[str, Tensor] = {}
        self._next_step = 1

    def prepare(self, model: nn.Module) -> None:
        """As the base class; then remove blocks down to the wanted number."""
        super().prepare(model)
        scores = score(model, self.targets, self.initial, seed=self.seed)
        remove_smallest(self.targets, scores, self.amount, self.scope)
        self.is_complete = True
        self._gradients, self._next_step = {}, 1
        for target in self.targets:
            self._listen(target)

    def _listen(self, target: Target) -> None:
        def listen(gradient: Tensor) -> None:
            if self._next_step % self.every == 0:
                before = self._gradients.get(target.name)
                self._gradients[target.name] = (
                    gradient.detach().clone() if before is None else before.add_(gradient)
                )

        self.mask(target).on_gradient = listen

    @torch.no_grad()
    def update(self, step: int, total_steps: int, optimizer: Any) -> bool:
        """Drop and grow at every `every`-th step before the end."""
        self._next_step = step + 1
        gradients, self._gradients = self._gradients, {}
        end = steps_of(self.end, total_steps)
        if step % self.every or step >= end:
            return False
        fraction = self.fraction / 2 * (1 + math.cos(math.pi * step / end))
        for target in self.targets:
            if target.name in gradients:
                gradient = sum_over_ranks(gradients[target.name])
                if bool(gradient.isfinite().all()):
                    self._exchange(target, gradient, fraction)
        return bool(gradients)

    def _exchange(self, target: Target, gradient: Tensor, fraction: float) -> None:
        grid, removed = target.grid, self.mask(target).on(gradient.device)
        active = grid.totals((~removed).float()) > 0
        count = min(count_of(fraction, int(active.sum())), int((~active).sum()))
        norms = grid.norms(target.weight).masked_fill(~active, torch.inf)
        dropped = select_smallest([norms], count)[0]
        growth = -grid.norms(gradient).masked_fill(active, -torch.inf)
        grown = select_smallest([growth], count)[0]
        inside = removed & grid.spread(active)  # single zeros from before stay
        self.set_removed(target, inside | grid.spread((~active | dropped) & ~grown))

    def state_dict(self) -> dict[str, Any]:
        """As the base class, with the next step: before a change, gradients are kept."""
        return {**super().state_dict(), "next_step": self._next_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As the base class."""
        super().load_state_dict(state)
        self._next_step = state["next_step"]
