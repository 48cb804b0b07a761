"""Instructions that the PE program needs, measured on the emulated board.

`python -m evenfall_spinnaker2.firmware.costs` prints the table. These are instructions, not cycles
of the chip: an instruction of a Cortex-M4F takes one cycle or more, and memory can make it wait.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..image import Blob, Projection, SourceRange
from ..image.codes import parameter_layout
from .board import events, run
from .build import Firmware, build

_ADDRESS = 0x8000


@dataclass(frozen=True)
class Cost:
    """Instructions of one kind of blob.

    Attributes:
        kind, mode, matrix, weights: of the blob: unit, mode, "dense" or "sparse", format.
        addition: of one weight times an event, its share of the event included.
        unit: of one unit in each tick, its share of the tick included, without events.
    """

    kind: str
    mode: str
    matrix: str
    weights: str
    addition: float
    unit: float


def measure(firmware: Firmware) -> Iterator[Cost]:
    """The cost of each kind of unit with a dense matrix, and of EGRU with each kind of matrix.

    In gather mode an addition is one of all inputs, silent ones included.

    Raises:
        FileNotFoundError: qemu is not installed.
        RuntimeError: the program fails.
    """
    for weights in ("fp32", "bf16", "int8"):
        for matrix in ("dense", "sparse"):
            for mode in ("events", "gather"):
                yield _cost(firmware, "egru", mode, matrix, weights)
    for kind in ("dense", "if", "lif", "cuba_lif"):
        yield _cost(firmware, kind, "events", "dense", "fp32")
    yield _cost(firmware, "int8", "events", "dense", "int8")


def _cost(firmware: Firmware, kind: str, mode: str, matrix: str, weights: str) -> Cost:
    small, large = 32, 96
    if mode == "gather":  # all inputs are read: compare two numbers of inputs, without events
        silent = events(np.zeros(0), np.zeros(0))
        counts = [
            float(run(firmware, _blob(kind, mode, matrix, weights, sources), [silent] * 3,
                      count=True).instructions[-1])
            for sources in (small, large)
        ]  # fmt: skip
    else:
        blob = _blob(kind, mode, matrix, weights, large)
        payloads: np.ndarray = np.ones(large, np.int32 if kind == "int8" else np.float32)
        ticks = [events(np.arange(n), payloads[:n]) for n in (0, small, small, large, large)]
        found = run(firmware, blob, ticks, count=True).instructions
        counts = [float(found[2]), float(found[4])]
    one = _blob(kind, mode, matrix, weights, large)
    additions = one.projections[0].weights.size / large
    slope = (counts[1] - counts[0]) / ((large - small) * additions)
    unit = (counts[0] - slope * small * additions) / one.units
    return Cost(kind, mode, matrix, weights, round(slope, 1), round(unit))


def _blob(kind: str, mode: str, matrix: str, weights: str, sources: int) -> Blob:
    """Twelve units, whose rows have a third of the weights if the matrix is sparse."""
    n, is_int8 = 12, kind == "int8"
    unit = "dense" if is_int8 else kind
    rows = n * (3 if kind == "egru" else 1)
    lines, others = (sources, rows) if mode == "events" else (rows, sources)
    dtype = {"fp32": "<f4", "bf16": "<u2", "int8": "i1"}[weights]
    shape = (sources, 1, 1)
    if matrix == "sparse":
        stored = np.arange(0, others, 3)
        pointers: np.ndarray = (np.arange(lines + 1) * len(stored)).astype("<u2")
        indices = np.tile(stored, lines).astype("<u2")
        values: np.ndarray = np.zeros(len(indices), dtype)
        part = Projection(
            "sparse", weights, shape, rows, values, indices=indices, pointers=pointers
        )
    else:
        part = Projection("dense", weights, shape, rows, np.zeros((lines, others), dtype))
    layout = parameter_layout(unit, "int8" if is_int8 else "float32", False)
    parameters: dict[str, np.ndarray] = {
        name: np.ones(size * n, kind) for name, (kind, size) in layout.items()
    }
    return Blob(
        unit, mode, "int8" if is_int8 else "float32", n, 1 << 20, (part,),
        (SourceRange(0, sources, 0, 0),), parameters, sources, load_address=_ADDRESS,
    )  # fmt: skip


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        firmware = build(Path(folder) / "pe.elf")
        print(f"# code and constants: {firmware.code} bytes")
        for one in measure(firmware):
            name = f"{one.kind}, {one.mode}, {one.matrix}, {one.weights}"
            print(f"{name}: {one.addition} an addition, {one.unit} a unit")


if __name__ == "__main__":
    main()
