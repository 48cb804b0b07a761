"""NIR files: what they become, that nothing is lost in silence, and the published LIF trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

nir = pytest.importorskip("nir")

from evenfall.errors import LoweringError
from evenfall.graph import Dense, If, Input, Lif, Readout, SumPool
from evenfall_spinnaker2 import check, compile, load_image
from evenfall_spinnaker2.nir_files import from_nir, read_nir, to_nir, write_nir

from .networks import Machine, chain, language_model, spiking


def network(*nodes: Any) -> Any:
    return nir.NIRGraph.from_list(*nodes, type_check=False)


def lif(size: int = 2, **changes: Any) -> Any:
    fields = {
        "tau": np.full(size, 5e-3), "r": np.ones(size), "v_leak": np.zeros(size),
        "v_threshold": np.ones(size), "v_reset": np.zeros(size),
    } | changes  # fmt: skip
    return nir.LIF(**fields)


def test_written_graph_is_read_back(tmp_path: Path) -> None:
    graph = spiking()
    again = read_nir(write_nir(graph, tmp_path / "net.nir"))
    assert set(again.edges) == set(graph.edges)
    for name, layer in graph.layers.items():
        other = again.layers[name]
        assert type(other) is type(layer)
        for key, value in vars(layer).items():
            if hasattr(value, "dtype"):
                np.testing.assert_array_equal(getattr(other, key), value)
            else:
                assert getattr(other, key) == value, (name, key)


@pytest.mark.parametrize("file", ["cnn_sinabs", "braille_noDelay_noBias_subtract", "lif_norse"])
def test_published_files_are_read_written_and_fit(
    data_dir: Path, tmp_path: Path, file: str
) -> None:
    graph = read_nir(data_dir / "nir" / f"{file}.nir")
    again = read_nir(write_nir(graph, tmp_path / "again.nir"))
    assert again.edges == graph.edges
    assert again.parameters() == graph.parameters()
    result = check(graph, dt=1e-4)
    assert result.fits
    assert result.pes <= 8


def trace(image: Any, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(voltage after each step, spikes) of one neuron."""
    machine = Machine(image)
    voltages, spikes = [], []
    for x in inputs:
        sent = machine.tick([(0, 1.0)] if x else [])
        voltages.append(float(machine.state[0]["v"][0]))
        spikes.append(len(sent))
    return np.array(voltages), np.array(spikes)


def test_lif_has_the_published_trace_of_py_spinnaker2(data_dir: Path, tmp_path: Path) -> None:
    """1,000 steps of 0.1 ms; int8 weights scaled by 102.02, as the importer did."""
    given = np.loadtxt(data_dir / "nir" / "lif_spinnaker2.csv", delimiter=",")
    graph = read_nir(data_dir / "nir" / "lif_norse.nir")
    folder = compile(graph, tmp_path / "out", dt=1e-4, precision="int8", weight_scale=102.02)
    image = load_image(folder)
    (blob,) = image.blobs
    assert blob.projections[0].weights.ravel().tolist() == [102]
    v, spikes = trace(image, given[:, 0])
    np.testing.assert_array_equal(spikes, given[:, 2])
    np.testing.assert_allclose(v / 102.02, given[:, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: network(nir.Delay(np.ones(2)), lif()),
            r"node '.*': NIR's Delay has no counterpart; supported: Affine, AvgPool2d",
        ),
        (
            lambda: network(nir.Linear(np.ones((2, 3))), lif(v_threshold=np.full(2, np.nan))),
            "node '.*': Lif.v_threshold: 2 of 2 values are NaN",
        ),
        (
            lambda: network(
                nir.Conv2d((8, 8), np.ones((2, 2, 3, 3)), 1, 1, 1, 2, np.zeros(2)), lif()
            ),
            "Conv2d with groups",
        ),
    ],
)
def test_what_has_no_counterpart_is_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_nir(make())


def test_v_reset_is_not_lost() -> None:
    node = lif(v_reset=np.full(2, 0.5))
    graph = from_nir(network(nir.Linear(np.ones((2, 3))), node))
    (layer,) = [one for one in graph.layers.values() if isinstance(one, Lif)]
    assert (layer.v_reset == 0.5).all()
    with pytest.raises(LoweringError, match="v_reset is not 0, but the reset subtracts"):
        from_nir(network(nir.Linear(np.ones((2, 3))), node), reset="subtract")


def test_reset_of_a_file_that_does_not_state_it_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    nir.write(path, network(nir.Linear(np.ones((2, 3))), lif()))
    subtracts = []
    for reset in (None, "value", "subtract"):
        image = load_image(compile(path, tmp_path / str(reset), reset=reset))
        subtracts.append("reset_subtract" in image.blobs[0].flags)
    assert subtracts == [False, False, True]
    with pytest.raises(ValueError, match="reset must be one of value, subtract, got 'both'"):
        check(path, reset="both")
    with pytest.raises(ValueError, match=r"reset: got 'value', but only a .nir file leaves"):
        check(read_nir(path), reset="value")


def test_large_step_is_refused_by_name() -> None:
    graph = from_nir(network(nir.Linear(np.ones((2, 3))), lif()))
    with pytest.raises(LoweringError, match=r"dt 0.01 exceeds the time constant 0.005"):
        check(graph, dt=0.01)
    assert check(graph, dt=0.01, integrator="exponential").fits


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not found"):
        read_nir(tmp_path / "none.nir")
    (tmp_path / "bad.nir").write_bytes(b"not HDF5")
    with pytest.raises(ValueError, match="cannot be read"):
        read_nir(tmp_path / "bad.nir")


def test_layers_without_counterpart_in_nir_are_named() -> None:
    with pytest.raises(LoweringError, match="Input has no counterpart in NIR"):
        to_nir(language_model())


def test_reset_is_kept_in_the_metadata(tmp_path: Path) -> None:
    graph = spiking()
    assert graph.layers["if"].reset == "subtract"
    again = read_nir(write_nir(graph, tmp_path / "a.nir"), reset="value")
    layer = again.layers["if"]
    assert isinstance(layer, If)
    assert layer.reset == "subtract"
    assert isinstance(again.layers["fc"], Dense)


def test_input_readout_and_average_are_kept(tmp_path: Path) -> None:
    graph = chain(
        ("in", Input((1, 4, 4))), ("pool", SumPool((2, 2), (2, 2), scale=0.25)),
        ("if", If(np.ones((1, 2, 2)), np.ones((1, 2, 2)), np.zeros((1, 2, 2)))),
        ("out", Readout("last", ("left", "right, far", "up", "down"))),
    )  # fmt: skip
    again = read_nir(write_nir(graph, tmp_path / "net.nir"))
    assert again.layers["in"].content == "values"
    assert again.layers["out"].steps == "last"
    assert again.layers["out"].labels == ("left", "right, far", "up", "down")
    assert again.layers["pool"].scale == 0.25
