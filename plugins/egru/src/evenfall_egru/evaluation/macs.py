"""Multiply-accumulate operations per token: dense, and effective given each layer's activity."""

from __future__ import annotations

from typing import Any

import torch


def count_macs(model: Any, activity: list[float]) -> dict[str, float]:
    r"""Effective and dense multiply-accumulates per token.

    With a_l the activity of layer l and H_l its units, E the embedding and V the vocabulary:

    .. math:: 3 H_1 E + \sum_l 3 a_l H_l^2 + \sum_{l>1} 3 a_{l-1} H_{l-1} H_l + a_L V E

    Each matrix counts with the share of its weights that are not zero. Dense counts every weight
    and every unit. A projection before the decoder is counted after the last layer's activity,
    and the decoder behind it densely, since its input is no longer sparse.

    Args:
        model: an EgruForCausalLM.
        activity: mean event rate of each layer, in [0, 1].

    Returns:
        effective, dense, and the ratio dense / effective.
    """
    layers, rates = model.model.layers, [1.0, *activity]
    dense = effective = 0.0
    for index, layer in enumerate(layers):
        for weight, rate in (
            (layer.kernel, rates[index]),
            (layer.recurrent_kernel, activity[index]),
        ):
            dense += weight.numel()
            effective += rate * _nonzero(weight)
    rate = activity[-1]
    if model.projection is not None:
        dense += model.projection.weight.numel()
        effective += rate * _nonzero(model.projection.weight)
        rate = 1.0
    dense += model.lm_head.weight.numel()
    effective += rate * _nonzero(model.lm_head.weight)
    return {
        "effective": effective,
        "dense": dense,
        "ratio": dense / effective if effective else 0.0,
    }


def _nonzero(weight: torch.Tensor) -> int:
    return int(torch.count_nonzero(weight))
