"""Multiply-accumulates per token: dense, and effective at each layer's activity."""

from __future__ import annotations

import torch

from evenfall.counting import counter_for

from ..models.modeling_egru import EgruForCausalLM


def count_macs(model: EgruForCausalLM, activity: list[float]) -> dict[str, float]:
    r"""Effective and dense multiply-accumulates per token.

    With activity a_l and H_l units in layer l, embedding size E and vocabulary size V:

    .. math:: 3 H_1 E + \sum_l 3 a_l H_l^2 + \sum_{l>1} 3 a_{l-1} H_{l-1} H_l + a_L V E

    Each effective term is multiplied by the share of the matrix's weights that are not zero. The
    dense count includes every weight and every unit. A projection before the decoder is counted
    with the last layer's activity; the decoder after it is counted with activity 1, since its
    input is no longer sparse.

    Args:
        model: an EgruForCausalLM.
        activity: mean event rate of each layer, in [0, 1].

    Returns:
        effective, dense, and the ratio dense / effective.

    Raises:
        ValueError: a module's class has no counter, such as a decoder with an adapter.
    """
    dense = effective = 0.0
    for name, module, rates in _parts(model, activity):
        counter = counter_for(module)
        if counter is None:
            raise ValueError(
                f"model: cannot count the operations of {name}: no counter is registered for its "
                f"class {type(module).__name__}"
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


def _parts(
    model: EgruForCausalLM, activity: list[float]
) -> list[tuple[str, torch.nn.Module, dict[str, float]]]:
    """Each module with matrices: (name, module, activity of the inputs by the matrix's role)."""
    input_activity = [1.0, *activity]
    parts = []
    for index, layer in enumerate(model.model.layers):
        inner = getattr(layer, "rnn", layer)  # torch's LSTM or GRU in a layer of a baseline
        rates = {"input": input_activity[index], "recurrent": activity[index]}
        parts.append((f"layer {index}", inner, rates))
    rate = activity[-1]
    if model.projection is not None:
        parts.append(("the projection", model.projection, {"input": rate}))
        rate = 1.0
    return [*parts, ("the decoder", model.lm_head, {"input": rate})]
