"""Which layer loses most when its weights are rounded: the layer to keep precise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..lowering.network import Network, Projection
from ..lowering.precision import SPIKING, choose_precision
from .comparison import exact_outputs
from .reference import simulate


@dataclass(frozen=True)
class Loss:
    """What rounding the weights into one layer does to the outputs, the other layers exact.

    Attributes:
        name: of the layer.
        gap: mean difference of an output, relative to the standard deviation of the outputs.
        changed: share of steps whose largest output is another one.
    """

    name: str
    gap: float
    changed: float


def losses(network: Network, inputs: Mapping[str, Any], precision: str = "int8") -> list[Loss]:
    """The loss of each layer on the chip, the largest first.

    Args:
        network: with exact weights.
        inputs: name of an input population -> (T, H) values.
        precision: what to round to: "int8" or "bf16".
    """
    exact = exact_outputs(network, simulate(network, inputs))
    rounded = choose_precision(network, precision)
    results = []
    for one in network.on_chip():
        if not network.incoming(one.name):
            continue
        got = exact_outputs(network, simulate(_mixed(network, rounded, one.name), inputs))
        gaps, changed = [], []
        for name, values in exact.items():
            spread = float(values.std()) or 1.0
            gaps.append(float(np.abs(got[name] - values).mean()) / spread)
            changed.append(float((got[name].argmax(-1) != values.argmax(-1)).mean()))
        results.append(Loss(one.name, max(gaps), max(changed)))
    return sorted(results, key=lambda loss: (-loss.changed, -loss.gap))


def _mixed(network: Network, rounded: Network, name: str) -> Network:
    """The network with the weights into one layer rounded, as floats."""
    projections = [
        _as_float(other, rounded) if one.target == name else one
        for one, other in zip(
            network.projections, _in_order(network, rounded.projections), strict=True
        )
    ]
    return replace(network, projections=tuple(projections))


def _in_order(network: Network, projections: tuple[Projection, ...]) -> list[Projection]:
    def key(one: Projection) -> tuple[str, str, str]:
        return one.name, one.source, one.target

    found = {key(one): one for one in projections}
    return [found[key(one)] for one in network.projections]


def _as_float(one: Projection, rounded: Network) -> Projection:
    """The projection with its stored weights times their scales."""
    target = rounded.populations[one.target]
    weights = np.asarray(one.operation.weights, np.float64)
    if one.weight_format != "int8":
        return one
    if target.kind in SPIKING:
        scale = target.scaling.get("w_scale", 1.0)
        return replace(one, operation=replace(one.operation, weights=weights / scale))
    scales = np.asarray(target.parameters["scale"]).reshape(-1, target.units)
    if weights.ndim == 4:
        per_channel = scales[0].reshape(len(weights), -1)[:, 0]
        weights = weights * per_channel[:, None, None, None]
    else:
        first = one.operation.first  # type: ignore[union-attr]
        weights = weights * scales[first : first + weights.shape[1]]
    return replace(one, operation=replace(one.operation, weights=weights))
