"""The graph: named layers and edges, checked as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from evenfall.errors import shorten
from evenfall.reading import reading

from .layers import Embedding, Flatten, Input, Layer, Readout, Shape, _Spiking
from .store import read_graph, write_graph


@dataclass(frozen=True, eq=False)
class Graph:
    """A network of layers. It cannot be changed.

    The inputs of a layer are summed. A recurrent edge must end at a spiking layer or pass one; an
    `Egru` has its recurrence inside.

    Attributes:
        layers: by name; one or more are an `Input`, one or more a `Readout`.
        edges: pairs (source, target) of names.
        metadata: JSON-able facts, such as the class of the model.

    Raises:
        ValueError: an edge has no layer, shapes do not fit, a layer has no input or no output, or a
            circle has no spiking layer.
    """

    layers: Mapping[str, Layer]
    edges: tuple[tuple[str, str], ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))
        object.__setattr__(self, "edges", tuple((str(a), str(b)) for a, b in self.edges))
        try:
            metadata = json.loads(json.dumps(dict(self.metadata), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(f"metadata: want JSON-able values ({error})") from None
        object.__setattr__(self, "metadata", MappingProxyType(metadata))
        self._check_edges()
        object.__setattr__(self, "_shapes", self._find_shapes())

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are made from the arguments, since views of dicts have no pickles."""
        return Graph, (dict(self.layers), self.edges, dict(self.metadata))

    def sources(self, name: str) -> list[str]:
        """The layers that `name` reads, in the order of the edges."""
        return [source for source, target in self.edges if target == name]

    def targets(self, name: str) -> list[str]:
        """The layers that read `name`, in the order of the edges."""
        return [target for source, target in self.edges if source == name]

    def shape(self, name: str) -> Shape:
        """The shape of the output of a layer, without batch and time."""
        shapes: dict[str, Shape] = self._shapes  # type: ignore[attr-defined]
        return shapes[name]

    def order(self) -> list[str]:
        """The names such that a layer comes after those that it reads, recurrent edges aside."""
        return list(self._shapes)  # type: ignore[attr-defined]

    def parameters(self) -> int:
        """The number of values in all arrays."""
        return sum(
            value.size
            for layer in self.layers.values()
            for value in vars(layer).values()
            if hasattr(value, "dtype")
        )

    def save(self, folder: str | Path, *, replace: bool = False) -> Path:
        """Write graph.json and graph.safetensors; the folder appears whole or not at all.

        Raises:
            FileExistsError: the folder exists and `replace` is off.
        """
        return write_graph(folder, self.layers, self.edges, self.metadata, replace)

    @classmethod
    def load(cls, folder: str | Path) -> Graph:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: no such folder or file.
            ValueError: a file is damaged, from a newer version, or states an impossible graph.
        """
        with reading(folder, "graph"):
            return cls(*read_graph(folder))

    def _check_edges(self) -> None:
        for edge in self.edges:
            for name in edge:
                if name not in self.layers:
                    got = shorten(edge)
                    raise ValueError(
                        f"edges: {got} names the layer {shorten(name)}, which is missing"
                    )
        twice = [edge for edge in self.edges if self.edges.count(edge) > 1]
        if twice:
            raise ValueError(f"edges: {shorten(twice[0])} appears twice")
        for kind in (Input, Readout):
            if not any(isinstance(layer, kind) for layer in self.layers.values()):
                raise ValueError(f"layers: want at least one {kind.__name__}")
        for name, layer in self.layers.items():
            _check_ends(name, layer, "input", isinstance(layer, Input), self.sources(name))
            _check_ends(name, layer, "output", isinstance(layer, Readout), self.targets(name))

    def _find_shapes(self) -> dict[str, Shape]:
        """The output shape of each layer, in an order that follows the edges."""
        shapes: dict[str, Shape] = {}
        waiting = list(self.layers)
        while waiting:
            ready = [name for name in waiting if set(self.sources(name)) <= set(shapes)]
            if not ready:  # a circle: it opens at a spiking layer whose other input is known
                ready = [name for name in waiting if self._opens(name, shapes)][:1]
            if not ready:
                raise ValueError(f"edges: the circle of {waiting[:4]} must have a spiking layer")
            for name in ready:
                shapes[name] = self._shape_of(name, shapes)
            waiting = [name for name in waiting if name not in shapes]
        for name in self.layers:
            self._shape_of(name, shapes)  # recurrent inputs fit as well
        return shapes

    def _opens(self, name: str, shapes: dict[str, Shape]) -> bool:
        is_spiking = isinstance(self.layers[name], _Spiking)
        return is_spiking and any(source in shapes for source in self.sources(name))

    def _shape_of(self, name: str, shapes: dict[str, Shape]) -> Shape:
        layer = self.layers[name]
        if isinstance(layer, Input):
            return (1,) if layer.content == "tokens" else layer.shape
        found = {shapes[source] for source in self.sources(name) if source in shapes}
        if len(found) > 1:
            raise ValueError(f"layer {name!r}: its inputs have different shapes {sorted(found)}")
        (shape,) = found
        if isinstance(layer, _Spiking) and Flatten().output_shape(shape) == layer.output_shape(
            layer.v_threshold.shape  # type: ignore[attr-defined]
        ):
            shape = layer.v_threshold.shape  # type: ignore[attr-defined]
        if isinstance(layer, Embedding):
            for source in self.sources(name):
                if getattr(self.layers[source], "content", "") != "tokens":
                    raise ValueError(f"layer {name!r}: an Embedding reads an Input of tokens")
        try:
            return layer.output_shape(shape)
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from None


def _check_ends(name: str, layer: Layer, end: str, is_last: bool, others: Sequence[str]) -> None:
    if is_last == bool(others):
        kind, got = type(layer).__name__, list(others[:4]) or "none"
        want = f"{kind} must have no {end}" if is_last else f"{kind} must have an {end}"
        raise ValueError(f"layer {name!r}: {want}, got {got}")
