"""The LIF neuron of the NIR paper, against the trace that py-spinnaker2 recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nir")

from evenfall_spinnaker2 import compile
from evenfall_spinnaker2.emulator.emulator import Emulator

SCALE = 102.02


def test_voltage_and_spikes_are_those_of_the_recorded_trace(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "nir"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    spikes, voltage, out = np.loadtxt(folder / "lif_spinnaker2.csv", delimiter=",").T
    options = {"dt": 1e-4, "precision": "int8", "weight_scale": SCALE}  # weight 1 becomes 102
    emulator = Emulator(compile(folder / "lif_norse.nir", tmp_path / "out", **options))
    (name,) = [p.name for p in emulator.populations if p.pes is not None]
    got, fired = [], []
    for step in spikes.reshape(-1, 1, 1):
        run = emulator.run(step, record=[name])
        fired.append(run.rasters[name][0, 0])
        got.append(emulator.state(name)["v"][0] / SCALE)
    np.testing.assert_array_equal(np.flatnonzero(fired), np.flatnonzero(out))
    np.testing.assert_allclose(got, voltage, atol=1e-6)
