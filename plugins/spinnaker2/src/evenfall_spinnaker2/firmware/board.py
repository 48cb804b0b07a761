"""Run the PE program with one blob in qemu's mps2-an386 board, which has a Cortex-M4F.

Dimensions: T ticks.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..image import Blob, pack
from .build import BOARD, Firmware

_EVENT = np.dtype([("key", "<u4"), ("payload", "<u4")])
_INSTRUCTIONS = 40
"""Instructions in one unit of the timer: it counts 25 MHz; an instruction takes a nanosecond."""
_PROBLEMS = {
    1: "a file is missing",
    2: "the blob does not fit",
    3: "too many events",
    99: "a fault",
}


@dataclass(frozen=True)
class BoardRun:
    """What the program did.

    Attributes:
        sent: for each tick, its events: fields key and payload, u32 each.
        state: the state after the last tick, float32.
        instructions: (T,) of computing and sending, in steps of 40; None without counting.
        stack: bytes of the stack that were used.
        lost: events that the full queue lost.
    """

    sent: list[Any] = field(repr=False)
    state: Any = field(repr=False)
    instructions: Any = field(repr=False)
    stack: int
    lost: int


def events(keys: Any, payloads: Any) -> np.ndarray:
    """Events of one tick; float payloads are sent as their bits, integers as int32."""
    values = np.asarray(payloads)
    out: np.ndarray = np.empty(len(values), _EVENT)
    out["key"] = keys
    kind = np.int32 if values.dtype.kind in "iu" else np.float32
    out["payload"] = values.astype(kind).view(np.uint32)
    return out


def command(program: Path, count: bool = False) -> list[str]:
    """The command that runs a program on the board; with `count`, a nanosecond an instruction."""
    return [
        BOARD, "-M", "mps2-an386", "-kernel", str(program.resolve()), "-nographic",
        "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native",
        *(["-icount", "shift=0"] if count else []),
    ]  # fmt: skip


def run(
    firmware: Firmware,
    blob: Blob,
    ticks: Sequence[np.ndarray],
    *,
    count: bool = False,
    timeout: float = 600,
) -> BoardRun:
    """Run the program over some ticks.

    Args:
        firmware: what `build` returns.
        blob: the blob; its load address must lie in the data memory of a PE.
        ticks: for each tick the events that arrived before it, see `events`.
        count: also count instructions, which takes longer.
        timeout: seconds after which the emulation is stopped.

    Raises:
        FileNotFoundError: qemu is not installed.
        RuntimeError: the program fails, or the emulation takes too long.
    """
    if shutil.which(BOARD) is None:
        raise FileNotFoundError(f"{BOARD} is not installed; on Debian: apt install {BOARD}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "blob.bin").write_bytes(pack(blob))
        with (folder / "events.bin").open("wb") as file:
            for tick in ticks:
                file.write(np.uint32(len(tick)).tobytes() + tick.astype(_EVENT).tobytes())
        try:
            done = subprocess.run(
                command(firmware.path, count),
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{BOARD} did not end within {timeout:g} s") from None
        if done.returncode:
            problem = _PROBLEMS.get(done.returncode, done.stderr.strip()[:200])
            raise RuntimeError(f"the PE program ended with status {done.returncode}: {problem}")
        data = (folder / "result.bin").read_bytes()
        passed = np.fromfile(folder / "cycles.bin", "<u4").astype(np.int64) * _INSTRUCTIONS
    return _parse(data, len(ticks), passed if count else None)


def _parse(data: bytes, ticks: int, instructions: np.ndarray | None) -> BoardRun:
    sent, place = [], 0
    for _ in range(ticks):
        count = int.from_bytes(data[place : place + 4], "little")
        sent.append(np.frombuffer(data, _EVENT, count, place + 4))
        place += 4 + _EVENT.itemsize * count
    stack, lost = np.frombuffer(data, "<u4", 2, place).tolist()
    return BoardRun(sent, np.frombuffer(data, "<f4", offset=place + 8), instructions, stack, lost)
