"""Int8 weights and activations for networks of dense and convolution layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from evenfall.errors import LoweringError, shorten

from .network import Convolution, Network, Projection
from .values import activations

_MOST = 1 << 24
"""Largest integer of a bias: float32 holds it exactly, and the 32-bit sum has room for it."""


def int8_arithmetic(network: Network, calibration: Any, limit: int) -> Network:
    """Round weights and activations to int8.

    An activation is worth its integer times the scale of its layer: its largest absolute value on
    the calibration examples / 127. A row of weights has the scale max |w| / limit, or a larger one
    if its bias would be too large an integer. The sums are integers, and one multiplier for each
    unit brings them to the scale of the next layer.

    Args:
        network: an input and layers of kind "dense".
        calibration: examples (N, *input shape).
        limit: largest int8 weight.

    Raises:
        LoweringError: other kinds of layers, a layer with several inputs, or an output of a layer
            that another one reads.
        ValueError: the calibration does not fit the input.
    """
    others = [one.name for one in network.on_chip() if one.kind != "dense"]
    if others:
        raise LoweringError(
            f"calibration: int8 activations need dense and convolution layers, got {others[:4]}"
        )
    read = {one.source for one in network.projections}
    for out in network.outputs:
        if out.population in read:
            raise LoweringError(
                f"layer {shorten(out.name)}: reads {shorten(out.population)}, which with int8 "
                "activations sends integers to other layers; read a layer that no other reads"
            )
    values = activations(network, calibration)
    scales = {name: max(float(np.abs(v).max()), 1e-30) / 127 for name, v in values.items()}
    populations = dict(network.populations)
    projections = []
    for name, population in network.populations.items():
        incoming = network.incoming(name)
        if population.kind == "input":
            populations[name] = replace(population, value_scale=scales[name], arithmetic="int8")
            continue
        if len(incoming) != 1:
            raise LoweringError(f"layer {shorten(name)}: int8 arithmetic needs exactly one input")
        bias, source = population.parameters["bias"], scales[incoming[0].source]
        integers, rows = _rounded(incoming[0], bias / source, limit)
        projections.append(integers)
        into = source * rows
        bias = np.rint(bias / into)
        flags, multiplier = population.flags, into
        if name in read:
            flags, multiplier = flags | {"quantise"}, into / scales[name]
        populations[name] = replace(
            population,
            parameters={"bias": bias, "multiplier": multiplier},
            flags=flags,
            arithmetic="int8",
            value_scale=scales[name] if name in read else 1.0,
        )
    return replace(network, populations=populations, projections=tuple(projections))


def _rounded(one: Projection, bias: Any, limit: int) -> tuple[Projection, Any]:
    """The projection as integers, and the scale of each unit.

    Args:
        one: its largest weights give the scales.
        bias: (H,) of the units, divided by the scale of the source. A scale is so large that the
            bias is at most `_MOST` of it; without weights, `_MOST` of it.
        limit: largest integer.
    """
    weights = one.operation.weights.astype(np.float64)
    axes = (1, 2, 3) if isinstance(one.operation, Convolution) else (0, 1)
    largest = np.abs(weights).max(axis=axes)
    most = np.abs(bias).reshape(len(largest), -1).max(axis=1)
    scales = np.maximum(largest / limit, most / _MOST)
    scales = np.where(scales > 0, scales, 1.0)
    shape = (-1, 1, 1, 1) if isinstance(one.operation, Convolution) else (1, 1, -1)
    integers = np.rint(weights / scales.reshape(shape)).astype(np.int8)
    operation = replace(one.operation, weights=integers)
    stored = replace(one, operation=operation, weight_format="int8")
    return stored, np.repeat(scales, len(bias) // len(scales))
