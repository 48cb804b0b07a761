"""How weights are stored: fp32, bf16, or int8 with scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from evenfall.checks import check_choice, check_number
from evenfall.errors import shorten

from .int8 import int8_arithmetic
from .network import Convolution, Network, Projection

PRECISIONS = ("auto", "fp32", "bf16", "int8")
SPIKING = ("if", "lif", "cuba_lif")
_FP32, _BF16 = float(np.finfo(np.float32).max), float.fromhex("0x1.fep127")
_SCALED = ("bias", "offset", "threshold", "reset")


def choose_precision(
    network: Network,
    precision: str = "auto",
    *,
    calibration: Any = None,
    weight_scale: float | None = None,
    limit: int = 127,
) -> Network:
    """Give each projection a format and round its weights to it.

    "auto" takes the smallest format that holds every weight exactly: int8 for integers of spiking
    layers, bf16, else fp32. int8 weights have one scale for each accumulator. For spiking layers
    the scale is one number for all inputs of a layer, and multiplies threshold and offset. With
    `calibration`, networks of dense and convolution layers also have int8 activations.

    Args:
        network: with float weights.
        precision: one of PRECISIONS.
        calibration: examples (N, *input shape) that the ranges of activations are measured on.
        weight_scale: int8 weights of spiking layers are round(weight_scale * w); by default
            weight_scale = limit / max |w| for each layer.
        limit: largest int8 weight.

    Raises:
        ValueError: an argument is wrong, or a weight is too large.
    """
    check_choice("precision", precision, PRECISIONS)
    check_number("weight_scale", weight_scale, above=True, or_none=True)
    is_spiking = any(one.kind in SPIKING for one in network.populations.values())
    if weight_scale is not None and (precision != "int8" or not is_spiking):
        raise ValueError(
            f"weight_scale needs precision 'int8' and spiking layers, got {weight_scale} with "
            f"precision {precision!r} and {'' if is_spiking else 'no '}spiking layers"
        )
    _want_range(network, _BF16 if precision == "bf16" else _FP32)
    if calibration is not None:
        if precision != "int8":
            raise ValueError(f"calibration needs precision 'int8', got {shorten(precision)}")
        return int8_arithmetic(network, calibration, limit)
    populations = dict(network.populations)
    projections: list[Projection] = []
    for name, population in network.populations.items():
        incoming = [one for one in network.projections if one.target == name]
        if precision != "int8":
            is_spiking = population.kind in SPIKING
            projections += [_as_float(one, precision, is_spiking, limit) for one in incoming]
        elif population.kind in SPIKING:
            largest = max(float(np.abs(_weights(one)).max()) for one in incoming)
            scale = weight_scale or (limit / largest if largest else 1.0)
            projections += [_rounded(one, scale, limit) for one in incoming]
            parameters = _scaled(population.parameters, scale)
            scaling = {**population.scaling, "w_scale": scale}
            populations[name] = replace(population, parameters=parameters, scaling=scaling)
        elif incoming:
            scales, stored = _int8_rows(incoming, population.units, limit)
            projections += stored
            parameters = {"scale": scales, **population.parameters}
            flags = population.flags | {"scale"}
            populations[name] = replace(population, parameters=parameters, flags=flags)
    found = replace(network, populations=populations, projections=tuple(projections))
    _want_range(found, _FP32)
    return found


def _want_range(network: Network, largest: float) -> None:
    """Refuse numbers that float32, or bf16 for weights, does not hold."""
    arrays = [(one.name, _weights(one), largest) for one in network.projections]
    for one in network.populations.values():
        arrays += [(one.name, values, _FP32) for values in one.parameters.values()]
        arrays.append((one.name, one.embedding, _FP32))
    for layer in (layer for out in network.outputs for layer in out.layers):
        arrays += [(layer.name, layer.weight, _FP32), (layer.name, layer.bias, _FP32)]
    for name, values, limit in arrays:
        if values is not None and np.abs(values).max() > limit:
            raise ValueError(
                f"layer {shorten(name)}: a number exceeds {limit:.3g}, the largest that fits"
            )


def to_bf16(values: Any) -> Any:
    """The upper 16 bits of float32 numbers, rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _as_float(one: Projection, precision: str, is_spiking: bool, limit: int) -> Projection:
    weights = _weights(one).astype(np.float32)
    if precision == "auto":
        precision = "fp32"
        if not (weights.view(np.uint32) & 0xFFFF).any():
            precision = "bf16"
        if is_spiking and np.abs(weights).max() <= limit and (weights == np.rint(weights)).all():
            return _with(one, weights.astype(np.int8), "int8")
    elif precision == "bf16":
        weights = (to_bf16(weights).astype(np.uint32) << 16).view(np.float32)
    return _with(one, weights, precision)


def _rounded(one: Projection, scale: float, limit: int) -> Projection:
    integers = np.rint(_weights(one).astype(np.float64) * scale)
    if np.abs(integers).max() > limit:
        raise ValueError(
            f"weight_scale: {scale} makes a weight of {shorten(one.name)} "
            f"{np.abs(integers).max():.0f}; "
            f"the limit is {limit}"
        )
    return _with(one, integers.astype(np.int8), "int8")


def _scaled(parameters: Mapping[str, Any], scale: float) -> dict[str, Any]:
    return {
        name: values * scale if name in _SCALED else values for name, values in parameters.items()
    }


def _int8_rows(incoming: list[Projection], units: int, limit: int) -> tuple[Any, list[Projection]]:
    """Scales (G * H,), one for each accumulator, and the projections as integers."""
    groups = 4 if any(getattr(one.operation, "first", 0) for one in incoming) else 1
    largest = np.zeros((groups, units))
    for one in incoming:
        rows = _largest_rows(one, units)
        first = getattr(one.operation, "first", 0)
        part = largest[first : first + len(rows)]
        np.maximum(part, rows, out=part)
    scales = np.where(largest > 0, largest / limit, 1.0).astype(np.float32)
    stored = []
    for one in incoming:
        weights = _weights(one)
        if isinstance(one.operation, Convolution):
            per_channel = scales[0].reshape(len(weights), -1)[:, 0]
            integers = np.rint(weights / per_channel[:, None, None, None])
        else:
            first = one.operation.first
            integers = np.rint(weights / scales[first : first + weights.shape[1]])
        integers = np.clip(integers, -limit, limit)
        stored.append(_with(one, integers.astype(np.int8), "int8"))
    return scales.ravel().astype(np.float64), stored


def _largest_rows(one: Projection, units: int) -> Any:
    """(G, H): the largest |weight| of each accumulator."""
    weights = np.abs(_weights(one))
    if isinstance(one.operation, Convolution):
        per_channel = weights.max(axis=(1, 2, 3))
        return np.repeat(per_channel, units // len(per_channel))[None]
    return weights.max(axis=0)


def _weights(one: Projection) -> Any:
    return one.operation.weights


def _with(one: Projection, weights: Any, weight_format: str) -> Projection:
    return replace(
        one, operation=replace(one.operation, weights=weights), weight_format=weight_format
    )
