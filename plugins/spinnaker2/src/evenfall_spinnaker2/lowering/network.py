"""A network of populations and projections: what is partitioned, placed and routed.

Dimensions: S source units, G accumulators of a unit that a projection reaches, H units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, eq=False)
class Population:
    """A layer of units.

    Attributes:
        name: of the layer in the graph.
        kind: "input", or a kind of unit of the image: "egru", "dense", "if", "lif", "cuba_lif".
        shape: of the layer; units are numbered in C order.
        level: layers on the chip below it; 0 for an input.
        parameters: float64 arrays of H (the bias of EGRU: 4H) by the names of the image.
        flags: of the image's blob: "relu", "quantise", "reset_subtract", "scale".
        zoneout: of EGRU.
        content: of an input: "tokens", "values" or "events".
        embedding: of an input of tokens, (V, H).
        scaling: of spiking units: what was scaled, for the report.
        arithmetic: "float32" or "int8".
        value_scale: int8 arithmetic: what an integer that the units send is worth.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    level: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    flags: frozenset[str] = frozenset()
    zoneout: float = 0.0
    content: str = ""
    embedding: Any = field(default=None, repr=False)
    scaling: Mapping[str, float] = field(default_factory=dict)
    arithmetic: str = "float32"
    value_scale: float = 1.0

    @property
    def units(self) -> int:
        """H."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True, eq=False)
class Matrix:
    """Weights (S, G, H), S after pooling, to the accumulators from group `first` on."""

    weights: Any = field(repr=False)
    first: int = 0


@dataclass(frozen=True, eq=False)
class Convolution:
    """Weights (O, C, kernel height, kernel width)."""

    weights: Any = field(repr=False)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False)
class Projection:
    """Weights from one population to another.

    Attributes:
        name: of the layer in the graph that has the weights.
        source, target: names of populations.
        operation: a Matrix or a Convolution.
        source_shape: (channels, height, width) of the source; (S, 1, 1) if it is flat.
        pool: (y, x): source (c, y, x) counts as (c, y // pool y, x // pool x).
        is_recurrent: source and target are the same population.
        weight_format: "fp32", "bf16" or "int8"; None before a precision was chosen.
    """

    name: str
    source: str
    target: str
    operation: Matrix | Convolution
    source_shape: tuple[int, int, int]
    pool: tuple[int, int] = (1, 1)
    is_recurrent: bool = False
    weight_format: str | None = None


@dataclass(frozen=True, eq=False)
class HostLayer:
    """A dense layer that the host computes; weight (outputs, inputs)."""

    name: str
    weight: Any = field(repr=False)
    bias: Any = field(default=None, repr=False)
    activation: str = "none"


@dataclass(frozen=True, eq=False)
class Output:
    """What leaves the network: a population, then dense layers that the host computes."""

    name: str
    population: str
    steps: str = "all"
    labels: tuple[str, ...] = ()
    layers: tuple[HostLayer, ...] = ()


@dataclass(frozen=True, eq=False)
class Network:
    """Populations by name in the order of their levels, projections and outputs."""

    populations: Mapping[str, Population]
    projections: tuple[Projection, ...]
    outputs: tuple[Output, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def incoming(self, name: str) -> list[Projection]:
        """The projections to a population, in the order of the keys of their sources."""
        order = list(self.populations)
        found = [one for one in self.projections if one.target == name]
        return sorted(found, key=lambda one: (order.index(one.source), one.name))

    def on_chip(self) -> list[Population]:
        """The populations that lie on the chip."""
        return [one for one in self.populations.values() if one.kind != "input"]
