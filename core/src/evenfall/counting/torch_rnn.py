"""Counters of torch.nn.RNN, GRU and LSTM: any number of layers and directions, packed or not.

Dimensions: H units of a layer, P its outputs (H or proj_size).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .products import multiply, multiply_states, multiply_unseen
from .statements import Activity, Axis, Counter, Matrix, Operations, Role, Units

_ROLES: dict[str, Role] = {"ih": "input", "hh": "recurrent", "hr": "output"}
_GATES = {"GRU": 3, "LSTM": 4}


def _matrices(module: Any) -> tuple[Matrix, ...]:
    gates = _GATES.get(module.mode, 1)
    kinds = [(name, name.split("_")) for name in module._flat_weights_names]
    return tuple(
        Matrix(name, 1, _ROLES[kind], 1 if kind == "hr" else gates)
        for name, (what, kind, *_) in kinds
        if what == "weight"
    )


def _count(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    """The output lacks the states of lower layers, so these layers run a second time.

    The input of an LSTM's projection (proj_size) is not visible and counts as not zero.
    """
    if module.training and module.dropout and module.num_layers > 1:
        raise ValueError(
            "model: a recurrent module has dropout between its layers; call eval() first"
        )
    # The weights that it computes with; its attributes may differ.
    weights = dict(zip(module._flat_weights_names, module._flat_weights, strict=True))
    final = output[1][0] if module.mode == "LSTM" else output[1]
    x, total = inputs["input"], Operations()
    for layer in range(module.num_layers):
        is_last = layer + 1 == module.num_layers
        y = output[0] if is_last else _run_layer(module, layer, x, inputs.get("hx"))
        for row, suffix, states in _directions(module, layer, _data(y)):
            first = _state(inputs.get("hx"), row)
            total += multiply(_data(x), weights[f"weight_ih_{suffix}"], 1)
            recurrent = weights[f"weight_hh_{suffix}"]
            total += multiply_states(states, first, final[row], recurrent, 1)
            if module.proj_size:
                steps = states.shape[:-1].numel()
                total += multiply_unseen(steps, weights[f"weight_hr_{suffix}"])
        x = y
    return total


def _directions(module: Any, layer: int, y: Any) -> Iterator[tuple[int, str, Any]]:
    """(row of the final state, suffix of the weights, states (..., P)) of each direction."""
    count = 2 if module.bidirectional else 1
    for direction, states in enumerate(y.chunk(count, -1)):
        suffix = f"l{layer}_reverse" if direction else f"l{layer}"
        yield layer * count + direction, suffix, states


def _run_layer(module: Any, layer: int, x: Any, hx: Any) -> Any:
    """The output of one layer."""
    import torch

    count = 2 if module.bidirectional else 1
    size = len(module._flat_weights) // module.num_layers
    options = {"proj_size": module.proj_size} if module.proj_size else {}
    if module.mode.startswith("RNN"):
        options = {"nonlinearity": module.nonlinearity}
    kind = getattr(torch.nn, module.mode.split("_")[0])
    single = kind(
        _data(x).shape[-1], module.hidden_size, bias=module.bias, device="meta",
        batch_first=module.batch_first, bidirectional=module.bidirectional, **options,
    )  # fmt: skip
    single._flat_weights = module._flat_weights[layer * size : (layer + 1) * size]
    rows = slice(layer * count, (layer + 1) * count)
    y, _ = single(x, _state(hx, rows, both=module.mode == "LSTM"))
    return y


def _state(hx: Any, rows: Any, both: bool = False) -> Any:
    """The states h (and c) of some rows; None if hx is None."""
    if hx is None:
        return None
    if both:
        return tuple(state[rows] for state in hx)
    return (hx[0] if isinstance(hx, tuple) else hx)[rows]


def _data(x: Any) -> Any:
    """(..., features): the `data` of a PackedSequence or a tensor."""
    return x.data


def _activity(module: Any, inputs: Mapping[str, Any], output: Any) -> Activity:
    """Of the last layer: the outputs of those below are not visible."""
    y = _data(output[0])
    return Activity(y.numel(), int((y == 0).sum()))


def _units(module: Any) -> tuple[Units, ...]:
    """The inputs, and the units of each layer, which the layer above reads. Not stated for two
    directions and for projections."""
    if module.bidirectional or module.proj_size:
        return ()
    gates, last = _GATES.get(module.mode, 1), module.num_layers - 1
    found = [Units((Axis("weight_ih_l0", 1),), read=True)]
    for layer in range(module.num_layers):
        names = [f"weight_ih_l{layer}", f"weight_hh_l{layer}"]
        if module.bias:
            names += [f"bias_ih_l{layer}", f"bias_hh_l{layer}"]
        axes = [Axis(name, 0, gates) for name in names]
        axes.append(Axis(f"weight_hh_l{layer}", 1))
        if layer < last:
            axes.append(Axis(f"weight_ih_l{layer + 1}", 1))
        found.append(Units(tuple(axes), written=layer == last))
    return tuple(found)


RECURRENT = Counter(_matrices, _count, activity=_activity, units=_units)
"""RNN, GRU and LSTM."""


def _cell_matrices(module: Any) -> tuple[Matrix, ...]:
    gates = module.weight_ih.shape[0] // module.hidden_size
    recurrent = Matrix("weight_hh", 1, "recurrent", gates)
    return Matrix("weight_ih", 1, gates=gates), recurrent


def _cell(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    x, hx = inputs["input"], inputs.get("hx")
    h = hx[0] if isinstance(hx, tuple) else hx
    if h is None:
        h = x.new_zeros(*x.shape[:-1], module.hidden_size)
    return multiply(x, module.weight_ih, 1) + multiply(h, module.weight_hh, 1)


def _cell_activity(module: Any, inputs: Mapping[str, Any], output: Any) -> Activity:
    h = output[0] if isinstance(output, tuple) else output
    return Activity(h.numel(), int((h == 0).sum()))


CELL = Counter(_cell_matrices, _cell, activity=_cell_activity)
"""RNNCell, GRUCell and LSTMCell."""
