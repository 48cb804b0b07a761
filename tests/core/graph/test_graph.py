"""A graph is checked as a whole, and is the same after it was saved and loaded."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("safetensors")

from evenfall.graph import (
    Conv2d,
    CubaLif,
    Dense,
    Egru,
    Embedding,
    Flatten,
    Graph,
    If,
    Input,
    Lif,
    Readout,
    SumPool,
)


def ones(*shape: int) -> object:
    return np.ones(shape, np.float32)


def egru(inputs: int, units: int) -> Egru:
    rng = np.random.default_rng(0)
    return Egru(
        rng.standard_normal((inputs, 3 * units)), rng.standard_normal((units, 3 * units)),
        ones(3 * units), ones(3 * units), 0.5 * ones(units), zoneout=0.1,
    )  # fmt: skip


def language_model() -> Graph:
    return Graph(
        {
            "tokens": Input((7,), "tokens"),
            "embed": Embedding(ones(7, 4)),
            "layer": egru(4, 5),
            "head": Dense(ones(7, 5), ones(7)),
            "out": Readout(),
        },
        (("tokens", "embed"), ("embed", "layer"), ("layer", "head"), ("head", "out")),
        {"model": "a.Model"},
    )


def spiking() -> Graph:
    cuba = [ones(6)] * 7
    return Graph(
        {
            "in": Input((2, 8, 8), "events"),
            "conv": Conv2d(ones(3, 2, 3, 3), ones(3), (2, 2), (1, 1)),
            "if": If(ones(3, 4, 4), ones(3, 4, 4), 0 * ones(3, 4, 4), "subtract"),
            "pool": SumPool((2, 2), (2, 2)),
            "flat": Flatten(),
            "fc": Dense(ones(6, 12)),
            "cuba": CubaLif(*cuba),
            "rec": Dense(ones(6, 6)),
            "lif": Lif(*([ones(6)] * 5)),
            "out": Readout("sum", ("a", "b")),
        },
        (
            ("in", "conv"), ("conv", "if"), ("if", "pool"), ("pool", "flat"), ("flat", "fc"),
            ("fc", "cuba"), ("cuba", "rec"), ("rec", "cuba"), ("cuba", "lif"), ("lif", "out"),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("make", [language_model, spiking])
def test_saved_graph_is_the_same(make: Callable[[], Graph], tmp_path: Path) -> None:
    graph = make()
    graph.save(tmp_path / "g")
    again = Graph.load(tmp_path / "g")
    assert (again.edges, dict(again.metadata)) == (graph.edges, dict(graph.metadata))
    assert list(again.layers) == list(graph.layers)
    for name, layer in graph.layers.items():
        assert type(again.layers[name]) is type(layer)
        for key, value in vars(layer).items():
            other = getattr(again.layers[name], key)
            if hasattr(value, "dtype"):
                assert value.dtype == other.dtype
                assert (value == other).all()
            else:
                assert value == other


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        spiking().save(tmp_path / name)
    for file in ("graph.json", "graph.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_shapes_and_order() -> None:
    graph = spiking()
    assert [graph.shape(name) for name in ("conv", "pool", "flat", "out")] == [
        (3, 4, 4), (3, 2, 2), (12,), (6,),
    ]  # fmt: skip
    order = graph.order()
    assert order.index("fc") < order.index("cuba") < order.index("lif")
    assert graph.sources("cuba") == ["fc", "rec"]
    assert graph.targets("cuba") == ["rec", "lif"]


def test_arrays_cannot_be_changed() -> None:
    weight = ones(2, 3)
    layer = Dense(weight)
    weight[:] = 0
    assert (layer.weight == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[0, 0] = 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense([[float("nan"), 1.0]]), r"Dense.weight: 1 of 2 values are NaN"),
        (lambda: Dense(ones(2, 3), ones(3)), r"Dense.bias: got shape \(3,\), want \(2,\)"),
        (lambda: Dense(ones(2)), r"Dense.weight: got shape \(2,\), want 2 axes"),
        (lambda: Dense(ones(2, 3), activation="tanh"), "Dense.activation: got 'tanh'"),
        (lambda: Dense(ones(0, 3)), "empty array"),
        (lambda: Dense([["a"]]), "want numbers"),
        (lambda: Input((0,)), r"Input.shape: got \(0,\)"),
        (lambda: Conv2d(ones(1, 1, 3, 3), stride=(1,)), "want 2 integers"),
        (lambda: If(ones(2), ones(3), ones(3)), r"If.r: got shape \(2,\), want \(3,\)"),
        (lambda: Lif(-ones(2), *([ones(2)] * 4)), "Lif.tau: got -1, want above 0 s"),
        (lambda: Lif(*([ones(2)] * 5), reset="soft"), "Lif.reset: got 'soft'"),
        (
            lambda: Egru(ones(2, 3), ones(1, 3), ones(3), ones(3), 2 * ones(1)),
            r"Egru.threshold: got 2 to 2, want values in \[0, 1\]",
        ),
    ],
)
def test_bad_layer_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("layers", "edges", "message"),
    [
        ({"a": Input((2,)), "o": Readout()}, (("a", "b"),), "layer 'b', which is missing"),
        ({"a": Input((2,))}, (), "at least one Readout"),
        (
            {"a": Input((2,)), "o": Readout()},
            (("a", "o"), ("a", "o")),
            r"\('a', 'o'\) appears twice",
        ),
        (
            {"a": Input((2,)), "b": Input((2,)), "o": Readout()},
            (("a", "b"), ("b", "o")),
            r"layer 'b': Input must have no input, got \['a'\]",
        ),
        ({"a": Input((2,)), "o": Readout()}, (), "layer 'a': Input must have an output, got none"),
        (
            {"a": Input((2,)), "d": Dense(ones(3, 4)), "o": Readout()},
            (("a", "d"), ("d", "o")),
            r"layer 'd': Dense: got input shape \(2,\), want \(4,\)",
        ),
        (
            {"a": Input((2,)), "d": Dense(ones(2, 2)), "e": Dense(ones(2, 2)), "o": Readout()},
            (("a", "d"), ("d", "e"), ("e", "d"), ("e", "o")),
            "must have a spiking layer",
        ),
        (
            {"a": Input((2,)), "e": Embedding(ones(2, 2)), "o": Readout()},
            (("a", "e"), ("e", "o")),
            "reads an Input of tokens",
        ),
    ],
)
def test_bad_graph_is_refused(layers: dict, edges: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Graph(layers, edges)


@pytest.mark.parametrize("keep", [0, 1, 40, 200])
def test_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    for file in ("graph.json", "graph.safetensors"):
        folder = language_model().save(tmp_path / file)
        (folder / file).write_bytes((folder / file).read_bytes()[:keep])
        with pytest.raises(ValueError, match="graph"):
            Graph.load(folder)


def test_newer_version_is_refused(tmp_path: Path) -> None:
    folder = language_model().save(tmp_path / "g")
    document = json.loads((folder / "graph.json").read_text())
    (folder / "graph.json").write_text(json.dumps(document | {"version": 9}))
    with pytest.raises(ValueError, match="version 9; this release reads 1"):
        Graph.load(folder)


def test_graph_is_copied_and_pickled() -> None:
    layers = {"in": Input((2,)), "fc": Dense([[1.0, 2.0]]), "out": Readout()}
    graph = Graph(layers, (("in", "fc"), ("fc", "out")), {"name": "two"})
    for other in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert other.edges == graph.edges
        assert dict(other.metadata) == {"name": "two"}
        np.testing.assert_array_equal(other.layers["fc"].weight, [[1.0, 2.0]])
