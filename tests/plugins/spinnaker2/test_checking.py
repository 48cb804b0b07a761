"""check: what each layer becomes, what does not fit, and what would make it fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenfall_spinnaker2 import check, load_image
from evenfall_spinnaker2.checking import check_network, largest_egru
from evenfall_spinnaker2.compiling import compile
from evenfall_spinnaker2.lowering.sketch import random_egru, sketch_egru
from evenfall_spinnaker2.settings import Settings

from .networks import language_model, spiking, values

PUBLISHED = sketch_egru(750, (1350, 1350, 1350), 0.05, "fp32")


def test_check_states_what_compile_writes(tmp_path: Path) -> None:
    graph = language_model()
    result = check(graph)
    image = load_image(compile(graph, tmp_path / "out"))
    assert (result.fits, result.pes, result.chips) == (True, len(image.blobs), 1)
    assert [one.pes for one in result.layers] == [1, 1, 0]
    assert [one.kind for one in result.layers] == ["egru", "egru", "host"]
    assert result.layers[0].weights == 3 * 24 * (8 + 24)
    for one, row in zip(result.layers, image.manifest["pes"], strict=False):
        memory = {part["part"]: part["bytes"] for part in row["memory"]}
        used = sum(memory.values()) - memory["code"] - memory["stack"] - memory["free"]
        assert used <= one.bytes <= used + 24
    assert result.host_bytes == 4 * (31 * 8 + 31 * 8)
    assert result.verification == "emulator-verified, not run on hardware"
    json.dumps(result.as_dict())


def test_what_does_not_fit_says_what_would(use_memory: Callable[[int], None]) -> None:
    use_memory(3000)
    result = check(random_egru(30, (60, 40), 1.0), pes=60)
    assert not result.fits
    assert result.problem == f"needs {result.pes} processing elements, the board has 60"
    changes = " ".join(result.would_fit)
    assert "precision 'bf16'" in changes
    assert "weights are rounded" in changes
    assert "pruning to" in changes
    assert "board '48'" in changes


def test_advice_holds(use_memory: Callable[[int], None]) -> None:
    use_memory(3000)
    (line,) = [
        one for one in check(random_egru(30, (60, 40), 1.0), pes=60).would_fit if "pruning" in one
    ]
    density = float(line.split("to ")[1].split("%")[0]) / 100
    assert check(random_egru(30, (60, 40), density - 0.02), pes=60).fits


def test_unit_that_does_not_fit_alone_is_named(use_memory: Callable[[int], None]) -> None:
    use_memory(700)
    result = check(random_egru(30, (60, 40), 1.0), pes=9)
    assert result.available == 9
    assert "layer 'layer 1': unit 0 alone needs" in result.problem
    assert result.layers == ()


def test_large_networks_are_extrapolated_without_weights() -> None:
    sketch = sketch_egru(3000, (3000, 3000), 0.1, "bf16")
    result = check_network(sketch, Settings(board="4x4"), "large")
    assert result.fits
    assert result.chips > 3
    assert 0 < result.router_entries <= 16384
    assert result.packets_per_tick >= 3000


def test_published_language_model_has_the_published_layout() -> None:
    """27 units a processing element: 5 % of 81 rows x 2 x 1350 inputs in fp32, 88.1 kB."""
    plan = Settings(profile="published").plan(PUBLISHED)
    assert [len(cuts) for cuts in plan.slices.values()] == [50, 50, 50]
    assert plan.usable_pes == 150
    layout = plan.layouts["layer 2"]
    sizes = [sum(size for _, size in layout.weight_bytes(27 * i, 27)) for i in range(50)]
    assert np.mean(sizes) == pytest.approx(88_136, abs=20)
    assert check_network(PUBLISHED, Settings(profile="published"), "published").fits


def test_published_sizes_need_at_most_100_pes() -> None:
    result = check_network(PUBLISHED, Settings(), "published")
    assert result.fits
    assert result.pes <= 100


def test_largest_egru_grows_with_pruning(use_memory: Callable[[int], None]) -> None:
    use_memory(12_000)
    rows = largest_egru(1, formats=("fp32", "int8"), densities=(1.0, 0.1), settings=Settings(pes=9))
    assert [(row["weights"], row["density"]) for row in rows] == [
        ("fp32", 1.0), ("fp32", 0.1), ("int8", 1.0), ("int8", 0.1),
    ]  # fmt: skip
    assert rows[0]["units"] < rows[1]["units"]
    assert rows[0]["units"] < rows[2]["units"] <= rows[3]["units"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "layers must be an integer of at least 1, got 0"),
        ({"formats": ("auto",)}, "formats must be one of fp32, bf16, int8, got 'auto'"),
        ({"densities": (0.0,)}, "densities must be more than 0 and finite, got 0.0"),
    ],
)
def test_the_largest_of_nothing_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        largest_egru(**options)


@pytest.mark.parametrize("make", [spiking, values])
def test_other_networks_are_checked(make: Callable) -> None:
    result = check(make())
    assert result.fits
    assert all(one.pes == 1 for one in result.layers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "push"}, "mode must be one of events, gather, got 'push'"),
        ({"precision": "fp64"}, "precision must be one of auto, fp32, bf16, int8, got 'fp64'"),
        ({"profile": "mine"}, "profile must be one of default, published, got 'mine'"),
        ({"profile": "published", "mode": "events"}, "has mode 'gather', got mode 'events'"),
        ({"board": "12"}, "board: got '12'"),
        ({"pes": 153}, "pes must be an integer of at least 1 and below 153, got 153"),
        ({"decoder": "dram"}, "decoder must be one of host, chip, got 'dram'"),
        ({"queue_depth": -1}, "queue_depth must be an integer of at least 1 .*, got -1"),
        ({"dt": 0.0}, "dt must be more than 0 and finite, got 0.0"),
        ({"integrator": "rk4"}, "integrator must be one of forward, exponential, got 'rk4'"),
        ({"pes": "3"}, "pes must be an integer .*, got '3'"),
        ({"pes": True}, "pes must be an integer .*, got True"),
        ({"queue_depth": 1.5}, "queue_depth must be an integer .*, got 1.5"),
        ({"dt": "a"}, "dt must be more than 0 and finite, got 'a'"),
        ({"board": 48}, "board: got 48, want '1', '48'"),
        ({"weight_scale": 2.0}, "weight_scale needs precision 'int8' and spiking layers, got 2.0"),
        ({"weight_scale": 2.0, "precision": "int8"}, "with precision 'int8' and no spiking layers"),
        ({"weight_scale": -2.0}, "weight_scale must be more than 0 and finite, or null, got -2.0"),
        ({"record_values": "no"}, "record_values must be true or false, got 'no'"),
        ({"record_values": True}, "record_values needs recorded_steps above 0, got 0"),
    ],
)
def test_wrong_option_is_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(language_model(), **options)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (np.zeros((0, 1, 8, 8)), r"calibration: got shape \(0, 1, 8, 8\), want \(examples, 64\)"),
        (np.ones((2, 64), complex), "calibration: got dtype complex128, want real numbers"),
        ("x", "calibration: got dtype <U1, want real numbers"),
        (np.ones(64), r"calibration: got shape \(64,\)"),
    ],
)
def test_wrong_calibration_is_named(examples: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(values(), precision="int8", calibration=examples)
