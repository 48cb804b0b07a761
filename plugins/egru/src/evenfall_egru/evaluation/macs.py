"""Multiply-accumulate operations per token: dense, and effective given each layer's activity."""

from __future__ import annotations

from typing import Any

import torch

from evenfall.counting import counter_for


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

    Raises:
        ValueError: no counter knows a module, such as a decoder with an adapter.
    """
    dense = effective = 0.0
    for name, module, rates in _parts(model, activity):
        counter = counter_for(module)
        if counter is None:
            raise ValueError(
                f"model: the operations of {name}, a {type(module).__name__}, cannot be counted; "
                "no counter is registered for its class"
            )
        for matrix in counter.matrices(module):
            weight = matrix.of(module)
            dense += weight.numel()
            effective += rates[matrix.role] * int(torch.count_nonzero(weight))
    return {
        "effective": effective,
        "dense": dense,
        "ratio": dense / effective if effective else 0.0,
    }


def _parts(model: Any, activity: list[float]) -> list[tuple[str, Any, dict[str, float]]]:
    """(name, module, share of the inputs of each role that are not zero) of what has matrices."""
    before = [1.0, *activity]
    parts = [
        (f"layer {index}", layer, {"input": before[index], "recurrent": activity[index]})
        for index, layer in enumerate(model.model.layers)
    ]
    rate = activity[-1]
    if model.projection is not None:
        parts.append(("the projection", model.projection, {"input": rate}))
        rate = 1.0
    return [*parts, ("the decoder", model.lm_head, {"input": rate})]
