"""exp, sigmoid and tanh have the emulator's bits on an emulated Cortex-M4F."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from evenfall_spinnaker2.firmware.board import command
from evenfall_spinnaker2.firmware.build import build, missing_tools

from ..emulator.test_activations import assert_same_bits, by_numba, inputs

pytestmark = pytest.mark.skipif(
    bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())}"
)


def test_the_board_has_the_same_bits(tmp_path: Path) -> None:
    firmware = build(tmp_path / "activations.elf", ("start.c", "activations_main.c"))
    x = inputs()
    x.tofile(tmp_path / "input.bin")
    subprocess.run(command(firmware.path), cwd=tmp_path, check=True, timeout=600)
    got = np.fromfile(tmp_path / "output.bin", np.float32).reshape(-1, 2).T
    assert_same_bits(np.ascontiguousarray(got), by_numba(x))
