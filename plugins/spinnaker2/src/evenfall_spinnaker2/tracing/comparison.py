"""trace: the gap between an image and its model, layer by layer and step by step.

Dimensions: T steps, H units of a layer, C outputs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evenfall.graph.layers import Reset

from ..emulator.emulator import Emulator
from ..image import Image
from ..lowering.from_graph import make_network
from ..lowering.network import Network
from ..sources import read_source
from .reference import Reference, simulate


@dataclass(frozen=True)
class Flip:
    """A unit whose event in the image differs from the model's.

    Attributes:
        step, unit: when and which.
        fired: whether it fired in the image.
        margin: by how much the model's value exceeded the threshold; near 0 if rounding decided.
    """

    step: int
    unit: int
    fired: bool
    margin: float


@dataclass(frozen=True)
class LayerTrace:
    """The gap of one layer.

    Attributes:
        name: of the layer.
        units: H.
        gap: (T,) largest difference of what units send, where both are silent or both fire.
            Integers of int8 arithmetic are first scaled to the model's values by least squares.
        flips: events that differ, the first ones.
        flipped: how many events differ.
        first_flip: the first step with a different event, or None.
        events: events of the model.
        near: units and steps whose margin is below the largest difference of the layer's values:
            those that rounding could flip.
    """

    name: str
    units: int
    gap: Any = field(repr=False)
    flips: tuple[Flip, ...]
    flipped: int
    first_flip: int | None
    events: int
    near: int


@dataclass(frozen=True)
class Trace:
    """The gap between an image and its model.

    Attributes:
        steps: T.
        layers: in the order of the network.
        outputs: by name, (T,) largest difference of an output at each step; (1,) if only the last
            step or the sum counts.
        same_choice: steps at which the largest output is the same.
    """

    steps: int
    layers: tuple[LayerTrace, ...]
    outputs: dict[str, Any] = field(repr=False)
    same_choice: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        layers = [
            {**asdict(one), "gap": [float(value) for value in one.gap]} for one in self.layers
        ]
        outputs = {name: [float(v) for v in gap] for name, gap in self.outputs.items()}
        return {
            "steps": self.steps, "layers": layers, "outputs": outputs,
            "same_choice": self.same_choice,
        }  # fmt: skip


def trace(
    image: Image | str | Path,
    model: Any,
    inputs: Any,
    *,
    reset: Reset | None = None,
    kept: int = 20,
) -> Trace:
    """Run the image in the emulator and the model in float64, and compare every layer.

    Both run freely: after the first different event the states differ as well.

    Args:
        image: an image, or its folder.
        model: what it was made of: a module, a Graph, or a path.
        inputs: of `Emulator.run`.
        reset: as for compile; the other options are those of the image.
        kept: flips to keep for each layer.

    Raises:
        ValueError: the model has other layers than the image, or the inputs do not fit.
    """
    emulator = Emulator(image)
    network = network_of(emulator.image, model, reset)
    names = [one.name for one in emulator.populations]
    if names != list(network.populations):
        raise ValueError(
            f"model has the layers {list(network.populations)}, image {emulator.image.folder} has "
            f"{names}"
        )
    run = emulator.run(inputs, record=True)
    if not emulator.steps:
        raise ValueError("inputs: got no steps, want at least one")
    values = emulator.host.encode(inputs, quantise=False)
    reference = simulate(network, values)
    blobs = emulator.image.blobs
    rounded = {
        one.name
        for one in emulator.populations
        if one.pes is not None and "quantise" in blobs[one.pes[0]].flags
    }
    layers = tuple(
        _layer(name, run.rasters[name], reference, kept, name in rounded)
        for name in names
        if name in run.rasters
    )
    wanted = exact_outputs(network, reference)
    outputs, same = {}, 0
    for name, got in run.outputs.items():
        rows, other = np.atleast_2d(got), np.atleast_2d(wanted[name])
        outputs[name] = np.abs(rows - other).max(1)
        same += int((rows.argmax(1) == other.argmax(1)).sum())
    return Trace(emulator.steps, layers, outputs, same)


def network_of(image: Image, model: Any, reset: Reset | None = None) -> Network:
    """The network of a model with exact weights, made with the options of its image."""
    options = image.manifest["options"]
    return make_network(
        read_source(model, reset).graph,
        dt=float(image.manifest["chip"]["tick_seconds"]),
        integrator=options.get("integrator", "forward"),  # older images lack both
        decoder=options.get("decoder", "host"),
    )


def exact_outputs(network: Network, reference: Reference) -> dict[str, Any]:
    """The outputs of a network by name, (T, C), or (C,) if the last step or the sum counts."""
    outputs = {}
    for one in network.outputs:
        values = reference.sent[one.population]
        for layer in one.layers:
            values = values @ np.asarray(layer.weight, np.float64).T
            if layer.bias is not None:
                values = values + layer.bias
            values = np.maximum(values, 0) if layer.activation == "relu" else values
        if one.steps == "last":
            values = values[-1]
        outputs[one.name] = values.sum(0) if one.steps == "sum" else values
    return outputs


def _layer(name: str, got: Any, reference: Reference, kept: int, is_rounded: bool) -> LayerTrace:
    wanted = reference.sent[name]
    fired, should = got != 0, wanted != 0
    margins = reference.margins.get(name)
    if margins is None:  # a dense layer has values, not events
        if is_rounded and got.any():  # integers of int8 arithmetic
            got = got * (float((got * wanted).sum()) / float(np.square(got).sum()))
        gap = np.abs(got - wanted).max(1) if len(got) else np.zeros(0)
        return LayerTrace(name, got.shape[1], gap, (), 0, None, int(should.sum()), 0)
    differs = fired != should
    gap = np.where(differs, 0, np.abs(got - wanted)).max(1) if len(got) else np.zeros(0)
    places = np.argwhere(differs)
    flips = tuple(
        Flip(int(t), int(u), bool(fired[t, u]), float(margins[t, u])) for t, u in places[:kept]
    )
    first = int(places[0, 0]) if len(places) else None
    near = int((np.abs(margins) <= gap.max(initial=0)).sum())
    return LayerTrace(name, got.shape[1], gap, flips, len(places), first, int(should.sum()), near)
