"""The PE program on an emulated Cortex-M4F gives the bits of the emulator.

`make firmware-test` runs this folder. It needs gcc-arm-none-eabi and qemu-system-arm.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evenfall_spinnaker2.emulator.queues import send
from evenfall_spinnaker2.emulator.tables import Destinations, make_tables
from evenfall_spinnaker2.emulator.units import compute
from evenfall_spinnaker2.firmware.board import BoardRun, events, run
from evenfall_spinnaker2.firmware.build import ON_CHIP, Firmware, build, missing_tools
from evenfall_spinnaker2.image import Blob

from ..random_blobs import cases, egru, random_ticks

CASES = dict(cases())
TICKS = 1000
pytestmark = pytest.mark.skipif(
    bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())}"
)


@pytest.fixture(scope="session")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    return build(tmp_path_factory.mktemp("firmware") / "pe.elf")


def emulated(blob: Blob, ticks: list) -> tuple[list[np.ndarray], np.ndarray]:
    """Outputs at each tick and the last state, by the emulator's loops."""
    tables = make_tables([blob], Destinations([[0]]))
    outputs = []
    for keys, payloads in ticks:
        sets = np.zeros(len(keys), np.int64)
        send(tables, keys.astype(np.int64), sets, payloads.astype(np.float32))
        compute(tables, np.array([0]), True)
        outputs.append(tables.outputs.copy())
    return outputs, tables.state


def received(blob: Blob, result: BoardRun) -> list[np.ndarray]:
    """What the program sent at each tick, as one number a unit."""
    out = []
    integers = blob.arithmetic == "int8" and "quantise" in blob.flags
    for sent in result.sent:
        row = np.zeros(blob.units, np.float32)
        row[sent["key"] - blob.first_key] = sent["payload"].view("<i4" if integers else "<f4")
        out.append(row)
    return out


@pytest.mark.parametrize("name", CASES)
def test_the_program_has_the_bits_of_the_emulator(firmware: Firmware, name: str) -> None:
    blob = CASES[name]
    ticks = random_ticks(blob, TICKS)
    result = run(firmware, blob, [events(*tick) for tick in ticks])
    outputs, state = emulated(blob, ticks)
    got = received(blob, result)
    different = [t for t in range(TICKS) if not np.array_equal(got[t], outputs[t])]
    assert not different, f"first different tick: {different[:1]}"
    assert result.state.tobytes() == state.tobytes()
    fired = np.count_nonzero(outputs) / (TICKS * blob.units)
    assert 0.01 < fired <= 1, f"{fired:.3f} of the units fired: the test would prove little"
    assert result.lost == 0
    assert result.stack <= 4096


def test_a_full_queue_loses_events(firmware: Firmware) -> None:
    blob = replace(egru(0, "events", "dense", "fp32"), queue_depth=3)
    keys = np.arange(0x200, 0x205, dtype=np.uint32)
    result = run(firmware, blob, [events(keys, np.ones(5, np.float32))])
    assert result.lost == 2


def test_code_fits_in_a_quarter_of_its_memory(firmware: Firmware) -> None:
    assert firmware.code <= 8192
    assert firmware.data == 0  # everything lies in the blob or on the stack
    assert sum(firmware.parts[name] for name in ON_CHIP) <= firmware.code


def test_a_blob_that_does_not_fit_is_refused(firmware: Firmware) -> None:
    blob = replace(egru(0, "events", "dense", "fp32"), recorded_steps=30000)
    with pytest.raises(RuntimeError, match="does not fit"):
        run(firmware, blob, [])


def test_instructions_grow_with_events(firmware: Firmware) -> None:
    blob = egru(0, "events", "dense", "fp32")
    keys = np.arange(0x200, 0x211, dtype=np.uint32)
    ticks = [events(keys[:count], np.ones(count, np.float32)) for count in (0, 8, 16)]
    silent, some, many = run(firmware, blob, ticks, count=True).instructions.tolist()
    assert 0 < silent < some < many
    macs = 8 * 3 * blob.units
    assert 3 < (many - some) / macs < 40


def test_a_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="gcc-arm-none-eabi"):
        build(tmp_path / "pe.elf")
