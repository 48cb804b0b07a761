"""Reordering: permute hidden units so that large weights share blocks. The model stays the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from evenfall.counting import PlacedAxis, UnitGroup, find_unit_groups
from evenfall.errors import warn_user

from .blocks import Block
from .clusters import cluster
from .masks import mask_of
from .targets import Target


def reorder_units(model: nn.Module, targets: Sequence[Target], block: Block) -> list[str]:
    """Permute the hidden units of a model for blocks of its targets.

    Args:
        model: the model.
        targets: the matrices that will be pruned.
        block: (r, c); units that are outputs are put into clusters of c, those that are inputs into
            clusters of r, and those that are both into clusters of the larger one.

    Returns:
        The names of the parameters and buffers that were permuted.
    """
    if block == (1, 1):
        return []
    by_weight = {id(one.weight): one for one in targets}
    changed: list[str] = []
    for group in find_unit_groups(model):
        sizes, features = _features(group, by_weight, block)
        if not features:
            continue
        rows = torch.cat(features, 1)  # (U, F)
        order = torch.from_numpy(cluster((rows @ rows.T).cpu().numpy(), max(sizes)))
        for axis in group.axes:
            permute(axis, order)
            changed.append(axis.name)
    if not changed:
        warn_user(
            "reorder changed nothing: no hidden units are known that could be permuted",
            UserWarning,
        )
    return list(dict.fromkeys(changed))


def _features(
    group: UnitGroup, by_weight: dict[int, Target], block: Block
) -> tuple[list[int], list[Tensor]]:
    """The lengths of blocks along the group's axes, and the magnitudes of each unit's weights."""
    sizes, features = [], []
    for axis in group.axes:
        target = by_weight.get(id(axis.tensor))
        if target is None:
            continue
        size = block[0] if axis.axis == target.matrix.input_axis else block[1]
        if size > 1:
            sizes.append(size)
            magnitudes = axis.tensor.detach().float().abs()
            parts = magnitudes.movedim(axis.axis, 0).unflatten(0, (axis.gates, group.size))
            features.append(parts.movedim(1, 0).flatten(1))
    return sizes, features


@torch.no_grad()
def permute(axis: PlacedAxis, order: Tensor) -> None:
    """Put the units of an axis into a new order, in place, with the mask of the parameter.

    Args:
        axis: the axis.
        order: (U,) the old place of the unit at each new place.
    """
    units = len(order)
    gates = torch.arange(axis.gates)[:, None] * units
    places = (gates + order).flatten().to(axis.tensor.device)
    axis.tensor.copy_(axis.tensor.index_select(axis.axis, places))
    mask = mask_of(axis.tensor)
    if mask is not None:
        mask.removed = mask.on(axis.tensor.device).index_select(axis.axis, places)
