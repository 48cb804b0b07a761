"""prune(): remove a share of the weights of a model at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evenfall.checks import check_choice, check_flag, check_integer, check_share
from evenfall.errors import shorten

from .blocks import Block, check_block
from .masks import mask_of, set_mask
from .reorder import reorder_units
from .scores import METHODS, NEED_BATCHES, Loss, score
from .selection import count_of, select_smallest
from .targets import Target, find_targets

SCOPES = ("global", "layer")


@dataclass(frozen=True)
class PrunedMatrix:
    """A matrix after pruning: its name, the number of its weights, and how many are zero."""

    name: str
    weights: int
    zeros: int


@dataclass(frozen=True)
class Pruning:
    """What `prune` did.

    Attributes:
        matrices: each matrix; a tied one once, under one of its names.
        block: (r, c).
    """

    matrices: tuple[PrunedMatrix, ...]
    block: Block

    @property
    def weights(self) -> int:
        """The number of weights in these matrices."""
        return sum(one.weights for one in self.matrices)

    @property
    def zeros(self) -> int:
        """How many of them are zero."""
        return sum(one.zeros for one in self.matrices)

    @property
    def sparsity(self) -> float:
        """The share of zeros."""
        return self.zeros / self.weights


def prune(
    model: nn.Module,
    amount: float,
    *,
    scope: Literal["global", "layer"] = "global",
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
    block: Block | str = (1, 1),
    reorder: bool = False,
    method: Literal["magnitude", "random", "wanda", "snip"] = "magnitude",
    batches: Iterable[Any] | None = None,
    loss: Loss | None = None,
    seed: int = 0,
) -> Pruning:
    r"""Set a share of a model's weights to zero, in place, and keep them at zero in training.

    Of N blocks, round(amount N) with the smallest scores are removed; of equal ones, the first. A
    block of r inputs by c outputs has the L2 norm of its weights' scores:

    .. math:: \lVert w \rVert, \qquad
        \text{wanda: } \bigl\lVert w_{io} \, \lVert x_i \rVert_2 \bigr\rVert, \qquad
        \text{snip: } \bigl\lVert w \, \partial L / \partial w \bigr\rVert

    Weights that are zero already are removed first, and count. Parameters stay plain and keep their
    names, so saving, loading and sharing a model work as before; tied weights are pruned once. The
    gradients of removed weights are zero, and so are the weights and their moments after each step
    of an optimiser of torch.optim. A model that is loaded anew has the zeros, but does not know
    that it shall keep them: call `keep_zeros` before it is trained further.

    Args:
        model: any module. Its matrices are those that counters state, see `evenfall.counting`.
        amount: the share to remove, from 0 to 1.
        scope: "global" ranks all weights together, "layer" those of each matrix.
        include: patterns of parameter names, such as "*.recurrent_kernel". None takes all matrices
            but tables that are looked up, such as embeddings, and what is tied to them.
        exclude: patterns of names that are left as they are.
        block: (r, c), or "1x16" as text: r inputs by c outputs, in whatever order the weight stores
            them. A block does not cross from one gate of a recurrent layer into the next: the last
            one of a gate may be smaller.
        reorder: first permute the hidden units, so that large weights share blocks; of single
            weights it changes nothing. The model computes the same. Do this before an optimiser is
            made.
        method: "magnitude"; "random"; "wanda", which needs batches; "snip", which needs batches and
            a loss.
        batches: for wanda and snip, inputs of the model: tensors, tuples of arguments, or mappings
            of keywords.
        loss: for snip, a function (model, batch) -> scalar; None takes the loss in the model's
            output.
        seed: of the method "random".

    Returns:
        The matrices, with their numbers of weights and zeros.

    Raises:
        ValueError: an argument is out of range or has no effect, nothing matches, a block does not
            fit, a weight is not finite, the model is compressed or quantised, or a method lacks
            what it needs.
        TypeError: the model is not a module.

    Sources: Han et al. 2015, arXiv 1506.02626 (magnitude); Sun et al. 2024, arXiv 2306.11695
    (wanda); Lee et al. 2019, arXiv 1810.02340 (snip).
    """
    check_share("amount", amount)
    check_choice("scope", scope, SCOPES)
    check_choice("method", method, METHODS)
    check_flag("reorder", reorder)
    check_integer("seed", seed, 0, 2**64)
    for name, value, methods in (("batches", batches, NEED_BATCHES), ("loss", loss, ("snip",))):
        if value is not None and method not in methods:
            raise ValueError(
                f"{name} has no effect on method {shorten(method)}, only on {' and '.join(methods)}"
            )
    shape = check_block(block)
    targets = find_targets(model, include, exclude, shape)
    if reorder:
        reorder_units(model, targets, shape)
    scores = score(model, targets, method, batches, loss, seed)
    remove_smallest(targets, scores, amount, scope)
    return report(targets, shape)


def remove_smallest(
    targets: Sequence[Target], scores: Sequence[Tensor], amount: float, scope: str
) -> None:
    """Remove a share of the blocks: those with the smallest scores, and those that a mask has
    removed already."""
    scores = [_removed_first(one, s) for one, s in zip(targets, scores, strict=True)]
    if scope == "global":
        count = count_of(amount, sum(one.numel() for one in scores))
        selected = select_smallest(scores, count)
    else:
        selected = [select_smallest([one], count_of(amount, one.numel()))[0] for one in scores]
    for one, blocks in zip(targets, selected, strict=True):
        removed, mask = one.grid.spread(blocks), mask_of(one.weight)
        if mask is not None:
            removed = removed | mask.on(removed.device)
        set_mask(one.weight, one.places, removed.contiguous())


def _removed_first(target: Target, scores: Tensor) -> Tensor:
    """The scores, with the lowest one for blocks that a mask has removed as a whole."""
    mask = mask_of(target.weight)
    if mask is None:
        return scores
    kept = ~mask.on(scores.device)
    if not target.grid.is_single:
        kept = target.grid.sums(kept.to(scores.dtype)) > 0
    return torch.where(kept, scores, -torch.inf)


def report(targets: Sequence[Target], block: Block) -> Pruning:
    """The zeros of the targets."""
    return Pruning(
        tuple(
            PrunedMatrix(one.name, one.weight.numel(), int((one.weight == 0).sum()))
            for one in targets
        ),
        block,
    )


def keep_zeros(
    model: nn.Module,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
) -> Pruning:
    """Keep all weights that are zero now at zero, as after `prune`: for a model that was loaded.

    Args:
        model: any module.
        include, exclude: as `prune`.

    Raises:
        ValueError, TypeError: as `prune`.
    """
    targets = find_targets(model, include, exclude, (1, 1))
    for one in targets:
        set_mask(one.weight, one.places, one.weight.detach() == 0)
    return report(targets, (1, 1))
