"""Graphs from and to files of the Neuromorphic Intermediate Representation (NIR).

Source: Pedersen et al., "Neuromorphic intermediate representation", Nature Communications 2024.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np

from evenfall.checks import check_choice
from evenfall.errors import LoweringError, shorten
from evenfall.graph import (
    Conv2d,
    CubaLif,
    Dense,
    Flatten,
    Graph,
    If,
    Input,
    Layer,
    Lif,
    Readout,
    SumPool,
)
from evenfall.graph.layers import Reset

RESETS: tuple[str, ...] = get_args(Reset)


def read_nir(path: str | Path, *, reset: Reset = "value") -> Graph:
    """The graph of a .nir file.

    Args:
        path: the file.
        reset: what spiking layers do when they spike, which NIR does not state: "value" sets v to
            v_reset, "subtract" subtracts the threshold. A key `reset` in the metadata of a node
            takes precedence.

    Raises:
        FileNotFoundError: no such file.
        ImportError: nir is not installed.
        LoweringError: a node has no counterpart; the message says what.
        ValueError: not a NIR file.
    """
    try:
        import nir
    except ImportError as error:
        raise ImportError("reading .nir files needs nir: pip install nir") from error
    check_choice("reset", reset, RESETS)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"NIR file {path} not found")
    try:
        found = nir.read(path)
    except Exception as error:
        raise ValueError(f"NIR file {path} cannot be read: {error}") from error
    return from_nir(found, reset=reset, name=path.stem)


def from_nir(found: Any, *, reset: Reset = "value", name: str = "nir") -> Graph:
    """The graph of a nir.NIRGraph; see `read_nir`."""
    layers: dict[str, Layer] = {}
    for key, node in found.nodes.items():
        kind = type(node).__name__
        if kind not in _NODES:
            known = ", ".join(sorted(_NODES))
            raise LoweringError(
                f"node {shorten(key)}: NIR's {kind} has no counterpart; supported: {known}"
            )
        try:
            layers[str(key)] = _NODES[kind](str(key), node, _text(node, "reset", reset))
        except LoweringError:
            raise
        except ValueError as error:
            raise LoweringError(f"node {shorten(key)}: {error}") from None
    order = [str(key) for key in found.nodes]
    edges = sorted(
        {(str(one), str(other)) for one, other in found.edges},
        key=lambda edge: (order.index(edge[0]), order.index(edge[1])),
    )
    try:
        return Graph(layers, tuple(edges), {"model": "nir.NIRGraph", "name": name})
    except ValueError as error:
        raise LoweringError(f"NIR graph: {error}") from None


def write_nir(graph: Graph, path: str | Path) -> Path:
    """Write a graph of spiking and dense layers as a .nir file.

    NIR states neither the reset nor what an input holds nor which steps count nor the labels: the
    metadata of the nodes keeps them.

    Raises:
        LoweringError: a layer has no counterpart in NIR.
    """
    import nir

    from evenfall.files import file_aside

    with file_aside(path) as aside:
        nir.write(aside, to_nir(graph))
    return Path(path)


def to_nir(graph: Graph) -> Any:
    """The nir.NIRGraph of a graph; see `write_nir`."""
    import nir

    nodes = {}
    for name, layer in graph.layers.items():
        shape = graph.shape(graph.sources(name)[0]) if graph.sources(name) else ()
        nodes[name] = _to_node(nir, name, layer, shape)
    return nir.NIRGraph(nodes, list(graph.edges), type_check=False)


def _to_node(nir: Any, name: str, layer: Layer, shape: tuple[int, ...]) -> Any:
    if isinstance(layer, Input) and layer.content != "tokens":
        return nir.Input({"input": np.array(layer.shape)}, metadata={"content": layer.content})
    if isinstance(layer, Readout):
        labels = {"labels": json.dumps(layer.labels)} if layer.labels else {}
        return nir.Output({"output": np.array(shape)}, metadata={"steps": layer.steps, **labels})
    if isinstance(layer, Dense) and layer.activation == "none":
        if layer.bias is None:
            return nir.Linear(np.array(layer.weight))
        return nir.Affine(np.array(layer.weight), np.array(layer.bias))
    if isinstance(layer, Conv2d) and layer.activation == "none":
        outputs = len(layer.weight)
        bias = np.zeros(outputs, layer.weight.dtype) if layer.bias is None else layer.bias
        return nir.Conv2d(
            shape[1:],
            np.array(layer.weight),
            layer.stride,
            layer.padding,
            (1, 1),
            1,
            np.array(bias),
        )
    if isinstance(layer, SumPool) and layer.scale in (1, 1 / (layer.kernel[0] * layer.kernel[1])):
        kind = nir.SumPool2d if layer.scale == 1 else nir.AvgPool2d
        return kind(*(np.array(v) for v in (layer.kernel, layer.stride, layer.padding)))
    if isinstance(layer, Flatten):
        return nir.Flatten({"input": np.array(shape)}, 0, -1)
    if isinstance(layer, If | Lif | CubaLif):
        kind = {"If": "IF", "Lif": "LIF", "CubaLif": "CubaLIF"}[type(layer).__name__]
        arrays = {key: np.array(value) for key, value in vars(layer).items() if key != "reset"}
        return getattr(nir, kind)(**arrays, metadata={"reset": layer.reset})
    raise LoweringError(f"layer {shorten(name)}: {type(layer).__name__} has no counterpart in NIR")


def _input(name: str, node: Any, reset: str) -> Layer:
    shape = tuple(int(size) for size in node.input_type["input"])
    return Input(shape, _text(node, "content", "events"))


def _output(name: str, node: Any, reset: str) -> Layer:
    labels = json.loads(_text(node, "labels", "[]"))
    if not isinstance(labels, list):
        raise LoweringError(f"node {shorten(name)}: labels must be a list, got {shorten(labels)}")
    return Readout(_text(node, "steps", "sum"), tuple(labels))


def _linear(name: str, node: Any, reset: str) -> Layer:
    return Dense(node.weight, getattr(node, "bias", None))


def _conv(name: str, node: Any, reset: str) -> Layer:
    if int(np.max(node.groups)) != 1 or set(_pair(node.dilation)) != {1}:
        raise LoweringError(
            f"node {shorten(name)}: Conv2d with groups or dilation is not supported"
        )
    if isinstance(node.padding, str):
        if node.padding != "valid":
            raise LoweringError(
                f"node {shorten(name)}: Conv2d with padding {shorten(node.padding)}; give numbers"
            )
        return Conv2d(node.weight, node.bias, _pair(node.stride))
    return Conv2d(node.weight, node.bias, _pair(node.stride), _pair(node.padding))


def _pool(name: str, node: Any, reset: str) -> Layer:
    return SumPool(_pair(node.kernel_size), _pair(node.stride), _pair(node.padding))


def _average(name: str, node: Any, reset: str) -> Layer:
    kernel = _pair(node.kernel_size)
    scale = 1 / (kernel[0] * kernel[1])
    return SumPool(kernel, _pair(node.stride), _pair(node.padding), scale)


def _flatten(name: str, node: Any, reset: str) -> Layer:
    shape = [int(size) for size in np.ravel(node.input_type["input"])]
    start, end = int(node.start_dim), int(node.end_dim) % len(shape)
    if int(np.prod(shape[start : end + 1])) != int(np.prod(shape)):
        raise LoweringError(f"node {shorten(name)}: Flatten of only some axes is not supported")
    return Flatten()


def _neuron(kind: Callable[..., Layer]) -> Callable[[str, Any, str], Layer]:
    def make(name: str, node: Any, reset: str) -> Layer:
        shape = np.shape(node.v_threshold)
        fields = [key for key in kind.__dataclass_fields__ if key != "reset"]  # type: ignore[attr-defined]
        arrays = {key: np.broadcast_to(getattr(node, key), shape) for key in fields}
        if reset == "subtract" and np.any(arrays["v_reset"] != 0):
            raise LoweringError(
                f"node {shorten(name)}: v_reset is not 0, but the reset subtracts the "
                f"threshold, which "
                "would lose it; use reset='value'"
            )
        return kind(**arrays, reset=reset)

    return make


def _text(node: Any, key: str, default: str) -> Any:
    """A word in the metadata of a node; HDF5 files return bytes."""
    found = (node.metadata or {}).get(key, default)
    return found.decode() if isinstance(found, bytes) else found


def _pair(value: Any) -> tuple[int, int]:
    found = [int(one) for one in np.ravel(value)]
    return (found[0], found[-1])


_NODES: dict[str, Callable[[str, Any, str], Layer]] = {
    "Input": _input,
    "Output": _output,
    "Linear": _linear,
    "Affine": _linear,
    "Conv2d": _conv,
    "SumPool2d": _pool,
    "AvgPool2d": _average,
    "Flatten": _flatten,
    "IF": _neuron(If),
    "LIF": _neuron(Lif),
    "CubaLIF": _neuron(CubaLif),
}
