"""The LIF neuron of the NIR paper, against the trace that py-spinnaker2 recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("nir")

from evenfall_spinnaker2 import compile
from evenfall_spinnaker2.emulator.emulator import Emulator
from evenfall_spinnaker2.nir_files import read_nir
from evenfall_spinnaker2.settings import Settings
from evenfall_spinnaker2.tracing.reference import simulate

SCALE = 102.02
SETTINGS: dict[str, Any] = {"dt": 1e-4, "precision": "int8", "weight_scale": SCALE}  # 1 -> 102


@pytest.fixture(scope="module")
def trace(data_dir: Path) -> tuple[Any, Any, Any]:
    """(input spikes, voltage, output spikes) of 1,000 steps."""
    file = data_dir / "nir" / "lif_spinnaker2.csv"
    if not file.is_file():
        pytest.skip(f"no {file}")
    return tuple(np.loadtxt(file, delimiter=",").T)


def test_voltage_and_spikes_are_those_of_the_recorded_trace(
    trace: Any, data_dir: Path, tmp_path: Path
) -> None:
    spikes, voltage, out = trace
    emulator = Emulator(compile(data_dir / "nir" / "lif_norse.nir", tmp_path / "out", **SETTINGS))
    (name,) = [p.name for p in emulator.populations if p.pes is not None]
    got, fired = [], []
    for step in spikes.reshape(-1, 1, 1):
        run = emulator.run(step, record=[name])
        fired.append(run.rasters[name][0, 0])
        got.append(emulator.state(name)["v"][0] / SCALE)
    np.testing.assert_array_equal(np.flatnonzero(fired), np.flatnonzero(out))
    np.testing.assert_allclose(got, voltage, rtol=0, atol=1e-6)


def test_reference_in_float64_has_the_recorded_trace_to_the_last_bits(
    trace: Any, data_dir: Path
) -> None:
    """Parameters are float32, as on the chip; arithmetic is float64."""
    spikes, voltage, out = trace
    network = Settings(**SETTINGS).network(read_nir(data_dir / "nir" / "lif_norse.nir"))
    (one,) = network.on_chip()
    stored = {name: np.float64(np.float32(value)) for name, value in one.parameters.items()}
    network = replace(
        network, populations=network.populations | {one.name: replace(one, parameters=stored)}
    )
    found = simulate(network, {network.projections[0].source: spikes[:, None]})
    np.testing.assert_array_equal(found.sent[one.name][:, 0], out)
    before = found.margins[one.name][:, 0] + stored["threshold"]
    got = np.where(out, stored["reset"], before) / SCALE
    np.testing.assert_allclose(got, voltage, rtol=0, atol=1e-15)
