"""An image computes what its graph states, whatever the mode, the precision and the board."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenfall.graph import CubaLif, Dense, Egru, Graph, If, Input, Lif, Readout
from evenfall_spinnaker2 import Emulator, compile, load_image
from evenfall_spinnaker2.lowering.from_graph import make_network
from evenfall_spinnaker2.lowering.values import activations

from .networks import chain, language_model, run, spiking, values

RNG = np.random.default_rng(0)


def egru_reference(graph: Graph, x: Any) -> Any:
    """The events of the last EGRU layer, float64."""
    for layer in graph.layers.values():
        if not isinstance(layer, Egru):
            continue
        y = h = np.zeros(len(layer.threshold))
        out = []
        for step in x:
            z, r, g = np.split(step @ layer.kernel.astype(float) + layer.bias, 3)
            sz, sr, sg = np.split(
                y @ layer.recurrent_kernel.astype(float) + layer.recurrent_bias, 3
            )
            z, r = 1 / (1 + np.exp(-z - sz)), 1 / (1 + np.exp(-r - sr))
            c = z * h + (1 - z) * np.tanh(g + r * sg)
            c = layer.zoneout * h + (1 - layer.zoneout) * c
            y, h = np.where(c > layer.threshold, c, 0), c - (c > layer.threshold) * layer.threshold
            out.append(y)
        x = np.array(out)
    return x


@pytest.mark.parametrize("mode", ["events", "gather"])
@pytest.mark.parametrize("density", [1.0, 0.1])
def test_egru_computes_the_same(tmp_path: Path, mode: str, density: float) -> None:
    graph = language_model(density=density)
    image = load_image(compile(graph, tmp_path / "out", mode=mode))
    kinds = {one.kind for blob in image.blobs for one in blob.projections}
    assert kinds == {"sparse" if density < 1 else "dense"}
    tokens = RNG.integers(0, 31, 12)
    x = graph.layers["embed"].weight[tokens].astype(float)
    got = run(image, x)
    np.testing.assert_allclose(got, egru_reference(graph, x), atol=1e-6)
    assert (got != 0).any()


def test_several_slices_and_chips_compute_the_same(
    tmp_path: Path, use_memory: Callable[[int], None]
) -> None:
    use_memory(3000)
    graph = language_model()
    image = load_image(compile(graph, tmp_path / "out", board="48", pes=3))
    assert len(image.blobs) > 6
    assert len({tuple(row["chip"]) for row in image.manifest["pes"]}) > 2
    x = graph.layers["embed"].weight[RNG.integers(0, 31, 10)].astype(float)
    np.testing.assert_allclose(run(image, x), egru_reference(graph, x), atol=1e-6)


def test_int8_weights_of_egru_are_close(tmp_path: Path) -> None:
    graph = language_model()
    x = graph.layers["embed"].weight[RNG.integers(0, 31, 6)].astype(float)
    got = run(load_image(compile(graph, tmp_path / "out", precision="int8")), x)
    wanted = egru_reference(graph, x)
    agree = (got != 0) == (wanted != 0)
    assert agree.mean() > 0.9
    np.testing.assert_allclose(got[agree], wanted[agree], atol=0.1)


def test_decoder_on_the_chip_gives_logits(tmp_path: Path) -> None:
    graph = language_model()
    image = load_image(compile(graph, tmp_path / "out", decoder="chip"))
    x = graph.layers["embed"].weight[RNG.integers(0, 31, 6)].astype(float)
    head = graph.layers["head"]
    wanted = egru_reference(graph, x) @ head.weight.T.astype(float) + head.bias
    np.testing.assert_allclose(run(image, x), wanted, atol=1e-5)
    assert image.manifest["host"]["outputs"][0]["layers"] == []


def spiking_reference(graph: Graph, x: Any, dt: float) -> Any:
    """Spikes of the last layer by forward Euler, float64, in the units of the graph."""
    conv, fire, fc = graph.layers["conv"], graph.layers["if"], graph.layers["fc"]
    cuba, rec, fc2, lif = (graph.layers[name] for name in ("cuba", "rec", "fc2", "lif"))
    assert isinstance(fire, If)
    assert isinstance(cuba, CubaLif)
    assert isinstance(lif, Lif)
    v1, v2, v3 = np.zeros((4, 4, 4)), np.zeros(6), np.zeros(3)
    current, spikes2, out = np.zeros(6), np.zeros(6), []
    for step in x.reshape(-1, 2, 8, 8):
        padded = np.pad(step, ((0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::2, ::2]
        v1 = v1 + np.einsum("chwyx,ocyx->ohw", windows, conv.weight) + conv.bias[:, None, None]
        spikes1 = v1 >= 1
        v1 = v1 - spikes1
        pooled = spikes1.reshape(4, 2, 2, 2, 2).sum((2, 4)).ravel()
        given = fc.weight @ pooled + fc.bias + rec.weight @ spikes2
        current = current + dt / 2e-3 * (-current + 1.5 * given)
        v2 = v2 + dt / 4e-3 * (0.1 - v2 + 2 * current)
        spikes2 = v2 >= 0.3
        v2 = np.where(spikes2, 0.05, v2)
        v3 = v3 + dt / 5e-3 * (-v3 + fc2.weight @ spikes2)
        spikes3 = v3 >= 0.1
        v3 = np.where(spikes3, 0, v3)
        out.append(spikes3)
    return np.array(out)


def test_spiking_network_computes_the_same(tmp_path: Path) -> None:
    graph = spiking()
    x = (RNG.random((40, 128)) < 0.1).astype(float)
    got = run(load_image(compile(graph, tmp_path / "out", dt=1e-3)), x)
    wanted = spiking_reference(graph, x, 1e-3)
    assert wanted.any()
    assert not wanted.all()
    np.testing.assert_array_equal(got, wanted)


def test_rows_of_a_convolution_are_split(tmp_path: Path, use_memory: Callable[[int], None]) -> None:
    graph = spiking()
    x = (RNG.random((8, 128)) < 0.1).astype(float)
    whole = run(load_image(compile(graph, tmp_path / "a")), x)
    use_memory(900)
    image = load_image(compile(graph, tmp_path / "b", queue_depth=32))
    assert any(one.out_rows < 4 for blob in image.blobs for one in blob.projections if one.channels)
    np.testing.assert_array_equal(run(image, x), whole)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_dense_and_convolution_layers(tmp_path: Path, precision: str) -> None:
    graph = values()
    x = RNG.random((6, 64))
    image = load_image(compile(graph, tmp_path / "out", precision=precision))
    wanted = activations(make_network(graph), x)["fc2"]
    tolerance = {"fp32": 1e-5, "bf16": 0.2, "int8": 0.5}[precision]
    np.testing.assert_allclose(run(image, x), wanted, atol=tolerance)


def test_int8_activations_are_close(tmp_path: Path) -> None:
    graph, x = values(), RNG.random((40, 64))
    image = load_image(compile(graph, tmp_path / "out", precision="int8", calibration=x))
    assert {blob.arithmetic for blob in image.blobs} == {"int8"}
    scale = image.manifest["host"]["inputs"][0]["quantise_scale"]
    got = run(image, np.clip(np.rint(x / scale), -127, 127))
    wanted = activations(make_network(graph), x)["fc2"]
    assert np.abs(got - wanted).max() < 0.03 * np.abs(wanted).max()
    assert (got.argmax(1) == wanted.argmax(1)).mean() > 0.9


def test_compiling_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        compile(language_model(density=0.3), tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert files
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_failed_compile_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs .* processing elements, the board has 1"):
        compile(language_model(units=(600, 600)), tmp_path / "out", pes=1)
    assert list(tmp_path.iterdir()) == []


def test_existing_folder_is_kept(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="already exists"):
        compile(language_model(), tmp_path)


def test_folder_with_other_files_is_never_replaced(tmp_path: Path) -> None:
    graph = values()
    graph.save(tmp_path / "model")
    for path in (tmp_path / "model", tmp_path):
        with pytest.raises(FileExistsError, match=r"no manifest.json\) and is not replaced"):
            compile(graph, path, replace=True)
    assert Graph.load(tmp_path / "model").edges == graph.edges
    compile(graph, tmp_path / "out")
    compile(graph, tmp_path / "out", replace=True)


@pytest.mark.parametrize(
    ("weight", "precision"), [(1e39, "auto"), (1e39, "fp32"), (-3.4e38, "bf16")]
)
def test_number_beyond_the_format_is_refused(tmp_path: Path, weight: float, precision: str) -> None:
    layers = ("input", Input((2,))), ("fc", Dense([[weight, 1.0]])), ("out", Readout())
    with pytest.raises(ValueError, match=r"layer 'fc': a number exceeds 3.[34]"):
        compile(chain(*layers), tmp_path / "out", precision=precision)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("content", "depth"), [("values", 3), ("events", 0)])
def test_only_sums_of_spikes_need_no_queue(tmp_path: Path, content: Any, depth: int) -> None:
    full = [np.full(2, value) for value in (5e-3, 1.0, 0.0, 0.1, 0.0)]
    graph = chain(
        ("input", Input((3,), content)),
        ("fc", Dense([[1.0, 2.0, 3.0], [4.0, 5.0, -6.0]])),
        ("lif", Lif(*full)),
        ("out", Readout()),
    )
    image = load_image(compile(graph, tmp_path / "out"))
    assert image.blobs[0].queue_depth == depth
    if content == "events":
        with pytest.raises(ValueError, match="input 'input': events must be whole numbers, got "):
            Emulator(image).run(np.full((2, 3), 0.5))
