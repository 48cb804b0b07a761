"""Counters of torch.nn: linear layers, convolutions, embeddings, attention, elementwise modules."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from .products import Product, is_ternary, multiply, multiply_unseen, record_product
from .statements import Activity, Axis, Counter, Link, Matrix, Operations, Units


def _linear(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    return multiply(inputs["input"], module.weight, 1)


def linear_units(module: Any) -> tuple[Units, ...]:
    """The inputs and the outputs of y = x W^T + b with W (outputs, inputs)."""
    outputs = [Axis("weight", 0)] + ([] if module.bias is None else [Axis("bias", 0)])
    return Units((Axis("weight", 1),), read=True), Units(tuple(outputs), written=True)


LINEAR = Counter(lambda module: (Matrix("weight", 1),), _linear, units=linear_units)
"""y = x W^T + b with W (outputs, inputs)."""

EMBEDDING = Counter(
    lambda module: (Matrix("weight", 0, "lookup"),),
    units=lambda module: (Units((Axis("weight", 1),), written=True),),
)
"""Rows are read; there are no operations."""

ELEMENTWISE = Counter()
"""Norms, dropout and pooling: nothing is multiplied by a matrix."""


def _activity(module: Any, inputs: Mapping[str, Any], output: Any) -> Activity:
    return Activity(output.numel(), int((output == 0).sum()))


def _relu_activity(module: Any, inputs: Mapping[str, Any], output: Any) -> Activity:
    zeros = int((output == 0).sum())
    return Activity(output.numel(), zeros, zeros)


def _each_alone(module: Any) -> tuple[Units, ...]:
    """A function of each unit alone; its parameters, if any, are the same for all units."""
    if any(parameter.numel() > 1 for parameter in module.parameters()):
        return ()
    return (Units((), read=True, written=True),)


ACTIVATION = Counter(activity=_activity, units=_each_alone)
"""Activation functions of each unit alone."""

GLU = Counter(activity=_activity)
"""An activation function of pairs of units."""

DROPOUT = Counter(units=_each_alone)
"""Dropout of single values, and Identity."""

RELU = Counter(activity=_relu_activity, units=_each_alone)
"""ReLU, whose derivative is 0 where its output is."""


def _norm_units(module: Any) -> tuple[Units, ...]:
    if len(module.normalized_shape) != 1:
        return ()
    names = [name for name in ("weight", "bias") if getattr(module, name, None) is not None]
    return (Units(tuple(Axis(name, 0) for name in names), read=True, written=True),)


NORM = Counter(units=_norm_units)
"""LayerNorm and RMSNorm."""


def _in_order(module: Any) -> tuple[Link, ...]:
    names = list(module._modules)
    return tuple(Link(one, other) for one, other in pairwise(names))


SEQUENTIAL = Counter(links=_in_order)
"""Each module reads the one before it."""

CONV1D = Counter(
    lambda module: (Matrix("weight", 0),), lambda m, i, o: multiply(i["x"], m.weight, 0)
)
"""transformers' Conv1D: y = x W + b with W (inputs, outputs)."""


def _convolution(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    """The counts are convolutions, too: of the masks of nonzero inputs and weights."""
    import torch

    x, weight = inputs["input"], module.weight
    batched = x.dim() == weight.dim()
    one = x[:1] if batched else x

    def products(left: Any, right: Any) -> int:
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 has no 257
            counts = module._conv_forward(left.float(), right.float(), None)
        return int(counts.round().to(torch.int64).sum())

    dense = products(torch.ones_like(one), torch.ones_like(weight))
    dense *= len(x) if batched else 1
    effective = products(x != 0, weight != 0)
    result = Operations(dense, effective, 0)
    if is_ternary(x):
        result = Operations(dense, 0, effective)
    channels = x.movedim(1 if batched else 0, 0).flatten(1)  # (inputs, places)
    squares = channels.double().square().sum(1)
    record_product(Product(weight, channels.shape[1], (channels != 0).sum(1), squares, result))
    return result


CONVOLUTION = Counter(
    lambda module: (Matrix("weight", 1),), _convolution, ("forward", "_conv_forward")
)
"""W (outputs, inputs / groups, *kernel); products with zero padding do not count."""


def _attention_matrices(module: Any) -> tuple[Matrix, ...]:
    names = (
        ("in_proj_weight",)
        if module._qkv_same_embed_dim
        else ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    )
    # out_proj is a module, but attention uses its weight without calling it.
    gates = 3 if len(names) == 1 else 1
    projections = (Matrix(name, 1, gates=gates) for name in names)
    return (*projections, Matrix("out_proj.weight", 1, "output"))


def _attention(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    """The four projections; the attention itself multiplies no weights.

    The input of out_proj is not visible and counts as not zero.
    """
    *projections, last = (matrix.of(module) for matrix in _attention_matrices(module))
    weights = projections[0].chunk(3) if len(projections) == 1 else projections
    total = Operations()
    for name, weight in zip(("query", "key", "value"), weights, strict=True):
        total += multiply(inputs[name], weight, 1)
    return total + multiply_unseen(inputs["query"].shape[:-1].numel(), last)


ATTENTION = Counter(_attention_matrices, _attention)
"""MultiheadAttention: query, key and value projections and out_proj."""
