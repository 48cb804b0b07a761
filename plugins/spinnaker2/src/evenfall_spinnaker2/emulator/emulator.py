"""The emulator: runs an image, and nothing but the image.

Dimensions: T steps, L levels of the network on the chip.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from evenfall.checks import check_choice
from evenfall.errors import shorten

from ..image import Image, load_image
from ..image.codes import STATES
from . import columns as col
from .host import Host
from .layout import Population, read_layout
from .queues import seed_orders, send
from .result import Run
from .tables import make_tables
from .units import compute

Order = Literal["ascending", "random"]
ORDERS: tuple[str, ...] = get_args(Order)


class Emulator:
    """Computes what the processing elements (PEs) of an image compute, bit by bit.

    A tick has two phases: PEs take the events of their queues and compute; then they send events,
    which follow the routing tables and wait for the next tick. Sums are rounded as on a Cortex-M4F.
    It is verified by tests against the PE program in an emulated processor, not run on hardware.

    Args:
        image: an image, or its folder.
        order: in which order a PE adds the events of a tick: "ascending" keys, as the PE program
            does, or "random", as packets could arrive if it did not sort them.
        seed: of random orders.
        allow_overflow: count events that a full queue loses, instead of raising an error.

    Attributes:
        steps: steps since the last reset.
        peak_queue: by PE, the most events that waited at once.
        lost: by PE, events that a full queue lost.

    Raises:
        FileNotFoundError: no such image.
        ValueError: the image is damaged, from a newer version or impossible, or `order` is unknown.
    """

    def __init__(
        self,
        image: Image | str | Path,
        *,
        order: Order = "ascending",
        seed: int = 0,
        allow_overflow: bool = False,
    ) -> None:
        check_choice("order", order, ORDERS)
        self.image = image if isinstance(image, Image) else load_image(image)
        self.order, self.allow_overflow = order, allow_overflow
        layout = read_layout(self.image)
        self.populations = layout.populations
        self.levels = layout.levels
        self.host = Host(self.image, self.populations)
        self._tables = make_tables(self.image.blobs, layout.destinations)
        self.seed = seed
        self.reset()

    def reset(self) -> None:
        """Forget the past: states 0, queues empty, counters 0, random orders from the seed."""
        tables = self._tables
        for array in (tables.state, tables.outputs, tables.waiting, tables.lost, tables.peak):
            array[:] = 0
        seed_orders(self.seed)
        self.steps = 0

    @property
    def peak_queue(self) -> np.ndarray:
        """By PE, the most events that waited at once."""
        return self._tables.peak.copy()

    @property
    def lost(self) -> np.ndarray:
        """By PE, events that a full queue lost."""
        return self._tables.lost.copy()

    def state(self, name: str) -> dict[str, np.ndarray]:
        """The state of the units of a population: (H,) arrays named h, v or i.

        Raises:
            ValueError: no such population on the chip.
        """
        population = next((p for p in self.populations if p.name == name), None)
        if population is None or population.pes is None:
            known = [p.name for p in self.populations if p.pes is not None]
            raise ValueError(f"population {shorten(name)} is not on the chip; there are {known}")
        parts: dict[str, list[np.ndarray]] = {}
        for pe in population.pes.tolist():
            blob, first = self.image.blobs[pe], int(self._tables.pes[pe, col.STATE])
            for number, part in enumerate(STATES[blob.kind]):
                at = first + number * blob.units
                parts.setdefault(part, []).append(self._tables.state[at : at + blob.units])
        return {part: np.concatenate(arrays) for part, arrays in parts.items()}

    def run(
        self, inputs: Any, *, record: bool | str | Iterable[str] = False, pipelined: bool = True
    ) -> Run:
        """Compute some steps, after those before. The state stays for the next call.

        Args:
            inputs: (T,) tokens or (T, ...) values or events of the only input; or such arrays by
                the names of the inputs.
            record: also return what the units of these populations sent; True means all.
            pipelined: level l computes step t in tick t + l, as on the chip when the input is
                known. Else a step takes L ticks, as in generation. Both give the same numbers.

        Raises:
            ValueError: an input does not fit; or a queue overflows, unless `allow_overflow`.
        """
        values = self.host.encode(inputs)
        steps = len(next(iter(values.values())))
        names = {p.name for p in self.populations if p.pes is not None}
        if isinstance(record, str):
            record = (record,)
        wanted = names if record is True else set(record or ())
        if wanted - names:
            raise ValueError(f"record: {sorted(wanted - names)} not in {sorted(names)}")
        log = _Log(self.populations, steps, wanted, self.host.read)
        for tick in range(steps + self.levels - 1 if pipelined and steps else steps):
            if tick < steps:
                self._send_inputs(values, tick, log)
            if pipelined:
                first = max(0, tick - steps + 1)
                active = range(first, min(self.levels, tick + 1))
                self._tick([(level, tick - level) for level in active], log)
            else:
                for level in range(self.levels):
                    self._tick([(level, tick)], log)
        self.steps += steps
        return Run(self.host.decode(log.values), log.events, log.operations, log.rasters())

    def _send_inputs(self, values: Mapping[str, np.ndarray], step: int, log: _Log) -> None:
        for population in self.populations:
            if population.pes is None:
                row = values[population.name][step]
                sent = send(self._tables, population.keys, population.sets, row)
                log.events[population.name][step] += sent

    def _tick(self, active: list[tuple[int, int]], log: _Log) -> None:
        """One tick of some levels, each with the number of its step."""
        tables, step_of = self._tables, dict(active)
        working = [p for p in self.populations if p.pes is not None and p.level in step_of]
        for population in working:
            compute(tables, population.pes, self.order == "ascending")
        if tables.lost.any() and not self.allow_overflow:
            self._refuse_overflow()
        for population in working:
            sent = tables.outputs[population.slots]
            send(tables, population.keys, population.sets, sent)
            done = int(tables.operations[population.pes].sum())
            log.write(population, step_of[population.level], sent, done)
        tables.operations[:] = 0

    def _refuse_overflow(self) -> None:
        pe = int(self._tables.lost.argmax())
        row = self.image.manifest["pes"][pe]
        raise ValueError(
            f"the queue of PE {row['pe']} on chip {tuple(row['chip'])} holds "
            f"{self.image.blobs[pe].queue_depth} events and lost {int(self._tables.lost[pe])} "
            f"at step {self.steps} or later; compile with a deeper queue, or allow overflow"
        )


class _Log:
    """Collects what populations send at each step."""

    def __init__(
        self, populations: tuple[Population, ...], steps: int, wanted: set[str], read: set[str]
    ) -> None:
        self.events: dict[str, np.ndarray] = {
            p.name: np.zeros(steps, np.int64) for p in populations
        }
        self.operations: np.ndarray = np.zeros(steps, np.int64)
        self.values: dict[str, np.ndarray] = {
            p.name: np.zeros((steps, p.units), np.float32)
            for p in populations
            if p.pes is not None and p.name in wanted | read
        }
        self._wanted = wanted

    def write(self, population: Population, step: int, sent: np.ndarray, done: int) -> None:
        self.events[population.name][step] = np.count_nonzero(sent)
        self.operations[step] += done
        if population.name in self.values:
            self.values[population.name][step] = sent

    def rasters(self) -> dict[str, np.ndarray]:
        return {name: rows for name, rows in self.values.items() if name in self._wanted}
