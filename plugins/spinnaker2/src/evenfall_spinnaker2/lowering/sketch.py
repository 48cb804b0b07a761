"""Networks without weights: only their sizes, for estimates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from evenfall.graph import Dense, Egru, Embedding, Graph, Input, Readout

from .network import Convolution, Matrix, Network, Output, Population, Projection
from .precision import SPIKING


@dataclass(frozen=True)
class Sketch:
    """Stands for an array of weights: its shape, and the share that is not zero, evenly spread."""

    shape: tuple[int, ...]
    density: float = 1.0

    @property
    def size(self) -> int:
        """Number of weights."""
        return int(np.prod(self.shape, dtype=np.int64))


def sketched(network: Network, density: float | None, weight_format: str | None) -> Network:
    """The network with sketches in place of matrices.

    Args:
        network: any.
        density: share of weights that are not zero; None keeps each projection's own.
        weight_format: None keeps each projection's own.
    """
    projections = tuple(_sketched(one, density, weight_format) for one in network.projections)
    populations = network.populations
    if weight_format is not None:
        populations = {name: _scaled(one, weight_format) for name, one in populations.items()}
    return replace(network, populations=populations, projections=projections)


def _scaled(one: Population, weight_format: str) -> Population:
    """The population with scales of its sums where its weights are int8, as `choose_precision`."""
    if one.kind == "input" or one.kind in SPIKING or one.arithmetic == "int8":
        return one
    flags = one.flags | {"scale"} if weight_format == "int8" else one.flags - {"scale"}
    return replace(one, flags=flags)


def _sketched(one: Projection, density: float | None, weight_format: str | None) -> Projection:
    form = weight_format or one.weight_format
    if isinstance(one.operation, Convolution):
        return replace(one, weight_format=form)
    weights = one.operation.weights
    if density is None:
        found = weights.density if isinstance(weights, Sketch) else _density(weights)
    else:
        found = density
    operation = replace(one.operation, weights=Sketch(tuple(weights.shape), found))
    return replace(one, operation=operation, weight_format=form)


def _density(weights: Any) -> float:
    return float(np.count_nonzero(weights) / weights.size)


def sketch_egru(inputs: int, sizes: tuple[int, ...], density: float, weight_format: str) -> Network:
    """An EGRU language model with layers of these sizes, without weights."""
    populations = {"input": Population("input", "input", (inputs,), content="values")}
    projections = []
    before, width = "input", inputs
    for level, units in enumerate(sizes):
        name = f"layer {level + 1}"
        populations[name] = _scaled(Population(name, "egru", (units,), level), weight_format)
        for source, count, first in ((before, width, 0), (name, units, 1)):
            projections.append(
                Projection(
                    name,
                    source,
                    name,
                    Matrix(Sketch((count, 3, units), density), first),
                    (count, 1, 1),
                    is_recurrent=bool(first),
                    weight_format=weight_format,
                )
            )
        before, width = name, units
    return Network(populations, tuple(projections), (Output("output", before),))


def random_egru(
    inputs: int, sizes: tuple[int, ...], density: float, seed: int = 0, vocabulary: int = 1000
) -> Graph:
    """The graph of an EGRU language model with random weights, a share of them not zero."""
    rng = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> Any:
        values = rng.standard_normal((rows, columns), np.float32) / np.float32(
            np.sqrt(rows * density)
        )
        if density < 1:
            values[rng.random((rows, columns), np.float32) >= density] = 0
        return values

    layers: dict[str, Input | Embedding | Egru | Dense | Readout] = {
        "tokens": Input((vocabulary,), "tokens"),
        "embedding": Embedding(rng.standard_normal((vocabulary, inputs), np.float32)),
    }
    width = inputs
    for number, units in enumerate(sizes):
        zeros: Any = np.zeros(3 * units, np.float32)
        layers[f"layer {number + 1}"] = Egru(
            matrix(width, 3 * units), matrix(units, 3 * units), zeros, zeros,
            np.full(units, 0.01, np.float32),
        )  # fmt: skip
        width = units
    head = rng.standard_normal((vocabulary, width), np.float32)
    layers |= {"decoder": Dense(head), "logits": Readout()}
    names = list(layers)
    edges = tuple(pairwise(names))
    return Graph(layers, edges, {"name": f"egru-random-{'-'.join(map(str, sizes))}"})
