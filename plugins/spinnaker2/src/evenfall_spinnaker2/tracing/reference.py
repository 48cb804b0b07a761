"""What a network computes, in float64 with exact weights: the definition for comparisons.

Dimensions: T steps, H units of a population, N inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..lowering.network import Convolution, Network, Population, Projection
from ..lowering.values import apply


@dataclass(frozen=True)
class Reference:
    """Results by name of the population.

    Attributes:
        sent: (T, H) what each unit sends, 0 if it is silent.
        margins: (T, H) by how much the value that decides about an event exceeds the threshold, in
            units of the threshold's scale; absent for dense populations, which have none.
    """

    sent: dict[str, Any] = field(repr=False)
    margins: dict[str, Any] = field(repr=False)


def simulate(network: Network, inputs: Mapping[str, Any]) -> Reference:
    """Run a network, whose weights are float.

    Args:
        network: before a precision was chosen, or with a float precision.
        inputs: name of an input population -> (T, H) values.
    """
    steps = len(next(iter(inputs.values())))
    sent = {
        name: np.asarray(inputs[name], np.float64)
        if one.kind == "input"
        else np.zeros((steps, one.units))
        for name, one in network.populations.items()
    }
    margins = {
        name: np.zeros((steps, one.units))
        for name, one in network.populations.items()
        if one.kind not in ("input", "dense")
    }
    on_chip = [(one, network.incoming(one.name)) for one in network.on_chip()]
    # What does not depend on time is computed for all steps at once.
    waiting = {name for name, one in network.populations.items() if one.kind == "input"}
    for one, incoming in on_chip:
        ahead = [p for p in incoming if p.source in waiting]
        behind = [p for p in incoming if p.source not in waiting]
        sums = sum(_sums(p, sent[p.source], one) for p in ahead) + np.zeros((steps, 1, 1))
        state = _State(one)
        for step in range(steps):
            total = sums[step]
            for p in behind:  # recurrent: the step before
                last = sent[p.source][step - 1 : step] if step else np.zeros((1, one.units))
                total = total + _sums(p, last, one)[0]
            values, margin = state.step(total)
            sent[one.name][step] = values
            if one.name in margins:
                margins[one.name][step] = margin
        waiting.add(one.name)
    return Reference(sent, margins)


def _sums(projection: Projection, x: Any, target: Population) -> Any:
    """x (T, N) -> the sums of all accumulators (T, G, H), G = 4 for EGRU, else 1."""
    if isinstance(projection.operation, Convolution):
        return apply(projection, x, target.shape)[:, None]
    weights = projection.operation.weights
    groups = 4 if target.kind == "egru" else 1
    out = np.zeros((len(x), groups, target.units))
    first = projection.operation.first
    for group in range(weights.shape[1]):
        one = _with_group(projection, group)
        out[:, first + group] = apply(one, x, target.shape)
    return out


def _with_group(projection: Projection, group: int) -> Projection:
    weights = projection.operation.weights[:, group : group + 1]
    return replace(projection, operation=replace(projection.operation, weights=weights))


class _State:
    """The state of one population."""

    def __init__(self, population: Population) -> None:
        self.population = population
        self.p = {k: np.asarray(v, np.float64) for k, v in population.parameters.items()}
        self.h = self.v = self.current = np.zeros(population.units)

    def step(self, sums: Any) -> tuple[Any, Any]:
        """Sums (G, H) -> what is sent, and the margin to the threshold."""
        kind, p, flags = self.population.kind, self.p, self.population.flags
        if kind == "dense":
            y = sums[0] + p["bias"]
            return (np.maximum(y, 0) if "relu" in flags else y), 0.0
        if kind == "egru":
            g, z, r, recurrent = sums + p["bias"].reshape(4, -1)
            z, r = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(-r))
            c = z * self.h + (1 - z) * np.tanh(g + r * recurrent)
            c = self.population.zoneout * self.h + (1 - self.population.zoneout) * c
            margin = c - p["threshold"]
            fires = margin > 0
            self.h = c - fires * p["threshold"]
            return fires * c, margin
        if kind == "if":
            v = self.v + p["offset"] + sums[0]
        elif kind == "lif":
            v = p["alpha"] * self.v + p["offset"] + sums[0]
        else:
            self.current = p["beta"] * self.current + sums[0] + p["bias"]
            v = p["alpha"] * self.v + p["offset"] + p["gain"] * self.current
        margin = v - p["threshold"]
        fires = margin >= 0
        reset = margin if "reset_subtract" in flags else p["reset"]
        self.v = np.where(fires, reset, v)
        return fires.astype(np.float64), margin
