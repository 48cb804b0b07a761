"""The exact selection of the smallest scores of one or several tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def count_of(amount: float, total: int) -> int:
    """How many of `total` an amount is: the nearest integer, and the even one of two."""
    return round(amount * total)


def select_smallest(scores: Sequence[Tensor], count: int) -> list[Tensor]:
    """Masks of exactly `count` smallest scores over all tensors; of equal ones the first.

    The threshold is found by partition, in time linear in the number of scores.

    Args:
        scores: tensors of any shape, in float32 or float64.
        count: how many, from 0 to the number of scores.

    Returns:
        For each tensor a boolean mask of its shape.

    Raises:
        ValueError: a score is NaN.
    """
    scores = [one.contiguous() for one in scores]
    total = sum(one.numel() for one in scores)
    if count == 0 or count == total:
        return [torch.full_like(one, count > 0, dtype=torch.bool) for one in scores]
    threshold = _kth_smallest(scores, count)
    masks = [one < threshold for one in scores]
    missing = count - sum(int(mask.sum()) for mask in masks)
    for one, mask in zip(scores, masks, strict=True):
        if missing:
            equal = (one == threshold).flatten().nonzero()[:missing, 0]
            mask.view(-1)[equal] = True
            missing -= len(equal)
    return masks


def _kth_smallest(scores: Sequence[Tensor], count: int) -> float:
    """The value of the score number `count`, from 1."""
    flat = torch.cat([one.reshape(-1) for one in scores])
    least = flat.min()  # NaN, if there is one
    if bool(least.isnan()):
        raise ValueError("scores must not be NaN: a weight or a gradient is")
    above = flat > least  # partition is slow where many scores are equal, as removed ones are
    equal = len(flat) - int(above.sum())
    if count <= equal:
        return float(least)
    if equal > 1:
        flat, count = flat[above], count - equal
    if flat.device.type == "cpu":
        return float(np.partition(flat.numpy(), count - 1)[count - 1])
    return float(flat.kthvalue(count).values)
