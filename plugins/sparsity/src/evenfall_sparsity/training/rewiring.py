"""Deep Rewiring: train with a constant number of weights; new ones grow at random places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evenfall.checks import check_choice, check_integer, check_number, check_share

from ..pruning.one_shot import SCOPES, remove_smallest
from ..pruning.scores import score
from ..pruning.targets import Target
from .base import SparseTraining
from .penalty import learning_rate
from .rigl import INITIAL


class DeepRewiring(SparseTraining):
    r"""Sparse from the start: a weight that changes its sign is replaced by one elsewhere.

    After each step of the optimiser, with learning rate eta, every weight that is there becomes

    .. math:: w \leftarrow w - \eta \alpha \, s + \sqrt{2 \eta T} \, \nu,
        \qquad \nu \sim \mathcal N(0, 1)

    where s is the sign that it was given. Weights whose sign is no longer s are removed, and as
    many grow at random places of the matrix, at zero and with a random sign.

    Args:
        amount: the share of removed weights.
        l1: alpha, the pull towards zero.
        temperature: T, of the random walk.
        initial, scope: as in `RigL`.
        include, exclude: as in `prune`. Blocks are not supported: a block has no sign.
        seed: of all random choices; the same on every rank.

    Raises:
        ValueError: an argument is out of range.

    Source: Bellec et al. 2018, arXiv 1711.05136.
    """

    def __init__(
        self,
        amount: float,
        *,
        l1: float = 1e-5,
        temperature: float = 0.0,
        initial: Literal["random", "magnitude"] = "random",
        scope: Literal["global", "layer"] = "layer",
        include: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(include, exclude, (1, 1))
        check_share("amount", amount)
        check_choice("initial", initial, INITIAL)
        check_choice("scope", scope, SCOPES)
        for name, value in (("l1", l1), ("temperature", temperature)):
            check_number(name, value)
        check_integer("seed", seed, 0, 2**64)
        self.amount, self.l1, self.temperature = amount, l1, temperature
        self.initial, self.scope, self.seed = initial, scope, seed
        self._signs: dict[str, Tensor] = {}
        self._generator = torch.Generator()

    def prepare(self, model: nn.Module) -> None:
        """As the base class; then remove weights down to the wanted number."""
        super().prepare(model)
        scores = score(model, self.targets, self.initial, seed=self.seed)
        remove_smallest(self.targets, scores, self.amount, self.scope)
        self._generator.manual_seed(self.seed)
        self._signs = {
            one.name: one.weight.detach().sign().to(torch.int8).contiguous() for one in self.targets
        }
        self.is_complete = True

    @torch.no_grad()
    def update(self, step: int, total_steps: int, optimizer: Any) -> bool:
        """Move, remove and grow."""
        for target in self.targets:
            self._rewire(target, learning_rate(optimizer, target))
        return True

    def _rewire(self, target: Target, rate: float) -> None:
        weight, removed = target.weight, self.mask(target).on(target.weight.device)
        signs = self._signs[target.name].to(weight.device)
        move = -rate * self.l1 * signs.to(weight.dtype)
        if self.temperature:
            noise = torch.randn(weight.shape, generator=self._generator).to(weight)
            move = move + math.sqrt(2 * rate * self.temperature) * noise
        weight.add_(move.masked_fill_(removed, 0))
        flipped = (weight.sign() * signs < 0) & ~removed
        count = int(flipped.sum())
        if count:
            removed = (removed | flipped).contiguous()
            places = removed.view(-1).nonzero()[:, 0]
            order = torch.randperm(len(places), generator=self._generator)[:count]
            grown = places[order.to(places.device)]
            drawn = torch.randint(2, (count,), generator=self._generator, dtype=torch.int8)
            signs.view(-1)[grown] = (2 * drawn - 1).to(signs.device)
            removed.view(-1)[grown] = False
            weight[flipped] = 0
            self.set_removed(target, removed)
        self._signs[target.name] = signs

    def state_dict(self) -> dict[str, Any]:
        """As the base class, with the signs and the generator of random numbers."""
        generator = self._generator.get_state()
        return {**super().state_dict(), "signs": self._signs, "generator": generator}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As the base class."""
        super().load_state_dict(state)
        self._signs = dict(state["signs"])
        self._generator.set_state(state["generator"])
