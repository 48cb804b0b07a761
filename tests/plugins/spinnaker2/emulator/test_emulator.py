"""The emulator computes what an image says, in both schedules, and refuses what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenfall_spinnaker2 import compile, load_image
from evenfall_spinnaker2.emulator.emulator import Emulator
from evenfall_spinnaker2.emulator.orders import compare_orders

from .. import networks

RANDOM = np.random.default_rng(1)
TOKENS = RANDOM.integers(0, 31, 12)
SPIKES = (RANDOM.random((30, 2, 8, 8)) < 0.15).astype(np.float32)
PIXELS = RANDOM.random((6, 1, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def text_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model in events mode."""
    return compile(networks.language_model(), tmp_path_factory.mktemp("image") / "text")


def sent(image: Any, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
    """What the first output population sends: by the emulator, and by a slow one in numpy."""
    emulator = Emulator(image)
    name = next(iter(emulator.host.read))
    raster = emulator.run(inputs, record=[name]).rasters[name]
    values = next(iter(emulator.host.encode(inputs).values()))
    return raster, networks.run(load_image(image), values.astype(float))


@pytest.mark.parametrize("mode", ["events", "gather"])
@pytest.mark.parametrize("density", [1.0, 0.1])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_egru_matches_a_slow_emulator(
    tmp_path: Path, mode: str, density: float, precision: str
) -> None:
    graph = networks.language_model(density=density)
    image = compile(graph, tmp_path / "out", mode=mode, precision=precision)
    got, wanted = sent(image, TOKENS)
    np.testing.assert_allclose(got, wanted, atol=2e-6)
    assert 0 < np.count_nonzero(got) < got.size


def test_a_spiking_network_matches_a_slow_emulator(tmp_path: Path) -> None:
    got, wanted = sent(compile(networks.spiking(), tmp_path / "out"), SPIKES)
    np.testing.assert_array_equal(got, wanted)
    assert got.any()


@pytest.mark.parametrize("calibrated", [False, True])
def test_dense_and_convolution_layers_match_a_slow_emulator(
    tmp_path: Path, calibrated: bool
) -> None:
    options = {"precision": "int8", "calibration": PIXELS} if calibrated else {}
    got, wanted = sent(compile(networks.values(), tmp_path / "out", **options), PIXELS)
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-5)


def test_packets_between_chips_arrive(tmp_path: Path, use_memory: Callable[[int], None]) -> None:
    whole, _ = sent(compile(networks.language_model(), tmp_path / "one"), TOKENS)
    use_memory(3000)
    image = compile(networks.language_model(), tmp_path / "many", board="48", pes=3)
    assert len({tuple(row["chip"]) for row in load_image(image).manifest["pes"]}) > 2
    got, _ = sent(image, TOKENS)
    np.testing.assert_array_equal(got, whole)


def test_both_schedules_and_split_runs_give_the_same_bits(text_image: Path) -> None:
    emulator = Emulator(text_image)
    whole = emulator.run(TOKENS, record=True)
    emulator.reset()
    parts = [emulator.run(TOKENS[:5]), emulator.run(TOKENS[5:6], pipelined=False)]
    parts += [emulator.run(TOKENS[6:6]), emulator.run(TOKENS[6:])]
    logits = np.concatenate([part.outputs["logits"] for part in parts])
    np.testing.assert_array_equal(logits, whole.outputs["logits"])
    assert emulator.steps == len(TOKENS)
    operations = np.concatenate([part.operations for part in parts])
    np.testing.assert_array_equal(operations, whole.operations)
    for name, raster in whole.rasters.items():
        np.testing.assert_array_equal(whole.events[name], np.count_nonzero(raster, axis=1))


def test_operations_are_the_rows_of_the_units_that_fired(text_image: Path) -> None:
    emulator = Emulator(text_image)
    run = emulator.run(TOKENS, record=True)
    first, second = (run.events[name] for name in ("layer0", "layer1"))
    before = [np.concatenate([[0], events[:-1]]) for events in (first, second)]
    wanted = 3 * 24 * (8 + before[0]) + 3 * 8 * (first + before[1])
    np.testing.assert_array_equal(run.operations, wanted)


def test_the_host_computes_the_last_layers(text_image: Path) -> None:
    run = Emulator(text_image).run(TOKENS, record=["layer1"])
    head = networks.language_model().layers["head"]
    wanted = run.rasters["layer1"] @ head.weight.T + head.bias
    np.testing.assert_allclose(run.outputs["logits"], wanted, atol=1e-6)


def test_a_full_queue_is_an_error_unless_allowed(tmp_path: Path) -> None:
    image = compile(networks.language_model(), tmp_path / "out", queue_depth=9)
    with pytest.raises(ValueError, match="holds 9 events and lost"):
        Emulator(image).run(TOKENS)
    emulator = Emulator(image, allow_overflow=True)
    emulator.run(TOKENS)
    assert emulator.lost.sum() > 0
    assert emulator.peak_queue.max() == 9
    emulator.reset()
    assert emulator.lost.sum() == 0


def test_random_orders_change_rounding_only(text_image: Path) -> None:
    study = compare_orders(text_image, TOKENS, orders=5)
    assert (study.orders, study.steps) == (5, len(TOKENS))
    assert 0 < study.largest_gap < 1e-4
    assert set(study.flipped) == {"layer0", "layer1"}
    runs = []
    for _ in range(2):
        emulator = Emulator(text_image, order="random", seed=3)
        runs.append(emulator.run(TOKENS).outputs["logits"])
    np.testing.assert_array_equal(*runs)


def test_integer_sums_do_not_depend_on_the_order(tmp_path: Path) -> None:
    image = compile(networks.spiking(), tmp_path / "out", precision="int8")
    study = compare_orders(image, SPIKES, orders=3)
    assert study.largest_gap == 0
    assert not any(study.flipped.values())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.array([31]), "tokens must be 0 to 30, got 31 to 31"),
        (np.array([-1]), "tokens must be 0 to 30"),
        (np.array([1.5]), "integers, got float64"),
        (np.zeros((2, 2), int), r"want \(T,\) integers"),
        ({"other": TOKENS}, r"got \['other'\], want \['tokens'\]"),
    ],
)
def test_inputs_that_do_not_fit_are_named(text_image: Path, inputs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Emulator(text_image).run(inputs)


def test_values_that_do_not_fit_are_named(tmp_path: Path) -> None:
    emulator = Emulator(compile(networks.values(), tmp_path / "out"))
    with pytest.raises(ValueError, match=r"shape \(T, 1, 8, 8\), got float64 of shape \(2, 3\)"):
        emulator.run(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="must be finite"):
        emulator.run(np.full((1, 64), np.nan))


def test_wrong_options_are_named(text_image: Path) -> None:
    with pytest.raises(ValueError, match="order must be"):
        Emulator(text_image, order="descending")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"record: \['layer7'\]"):
        Emulator(text_image).run(TOKENS, record=["layer7"])
    with pytest.raises(ValueError, match="orders must be an integer of at least 1"):
        compare_orders(text_image, TOKENS, orders=0)
    with pytest.raises(FileNotFoundError):
        Emulator(text_image / "absent")
