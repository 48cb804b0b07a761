"""How long the products of each storage form take on this machine, measured once and kept.

A vector times a matrix (I, O), of whose inputs i the share a_i is not zero, takes on average

    t = sum_i a_i (row + entry n_i)                       n_i stored values or blocks of row i
    t = I O entry                                         a dense product, whatever is zero

Both times are measured on a matrix of 1350 x 4050 with 10 % active inputs, on one thread. The file
is `costs.json` in the user's cache folder, $XDG_CACHE_HOME/evenfall or ~/.cache/evenfall. It is
measured again on another processor, or with other versions of torch or Numba.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from llvmlite.binding import get_host_cpu_name
from torch import Tensor

from evenfall.caches import cache_folder
from evenfall.files import write_json
from evenfall_kernels.cpu.compiled import compiled
from evenfall_kernels.ops.event_matmul.formats import compressed_arrays, dense_arrays
from evenfall_kernels.ops.event_matmul.loops import multiply_fired

from .kinds import Kind

VERSION = 1
_INPUTS, _OUTPUTS, _FIRED, _VECTORS, _ROUNDS = 1350, 4050, 135, 24, 7
_FEW, _MANY = 0.02, 0.2  # stored shares of two measurements, which give the two times


@dataclass(frozen=True)
class Cost:
    """Nanoseconds of each active row, and of each stored entry in it."""

    row: float
    entry: float


class Costs:
    """The costs of this machine by storage form; each is measured when it is first asked for.

    Args:
        path: the file; None for `costs.json` in the user's cache folder.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = cache_folder() / "costs.json" if path is None else Path(path)
        self._costs = _read(self.path)

    def of(self, kind: Kind | None) -> Cost:
        """The cost of a storage form; None is PyTorch's dense product."""
        name = "dense product" if kind is None else str(kind)
        if name not in self._costs:
            self._costs[name] = _measure_dense() if kind is None else _measure(kind)
            self._save()
        return self._costs[name]

    def microseconds(self, kind: Kind | None, active: Tensor, entries: Tensor) -> float:
        """The mean time of a vector.

        Args:
            kind: the storage form; None is PyTorch's dense product.
            active: (I,) how often each input is not zero.
            entries: (I,) stored values or blocks of each row.
        """
        cost = self.of(kind)
        if kind is None:
            return cost.entry * float(entries.sum()) / 1000
        return float((active * (cost.row + cost.entry * entries)).sum()) / 1000

    def _save(self) -> None:
        costs = {name: [cost.row, cost.entry] for name, cost in self._costs.items()}
        with suppress(OSError):  # a read-only home: this process keeps them
            write_json(self.path, {**_stamp(), "costs": costs})


def _stamp() -> dict[str, Any]:
    return {
        "version": VERSION,
        "machine": {"processor": get_host_cpu_name(), "cores": os.cpu_count()},
        "torch": torch.__version__,
        "numba": numba.__version__,
    }


def _read(path: Path) -> dict[str, Cost]:
    """The costs in the file; none if it is missing, damaged, or from another machine."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        costs = content.pop("costs")
        found = {name: Cost(float(row), float(entry)) for name, (row, entry) in costs.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    return found if content == json.loads(json.dumps(_stamp())) else {}


@compiled()
def _run(out: Any, events: Any, matrix: Any, rows: Any, coefficients: Any) -> None:
    for n in range(events.shape[0]):
        multiply_fired(out, events[n], matrix, rows, coefficients)


def _measure(kind: Kind) -> Cost:
    """Rows have no time of their own where all have the same length."""
    if kind.width == 0:
        values = torch.ones(_INPUTS, _OUTPUTS).to(kind.dtype)
        return Cost(0.0, _seconds(dense_arrays(values, None)) * 1e9 / (_FIRED * _OUTPUTS))
    few, many = (max(1, int(share * _OUTPUTS / kind.width)) for share in (_FEW, _MANY))
    short, long = (_seconds(_random_entries(kind, n)) * 1e9 / _FIRED for n in (few, many))
    entry = max(long - short, 0.0) / (many - few) or long / many
    return Cost(max(short - few * entry, 0.0), entry)


def _random_entries(kind: Kind, per_row: int) -> Any:
    """A matrix with so many values or blocks in each row, spread over the columns."""
    stride = (_OUTPUTS - kind.width + 1) // per_row
    offsets = torch.randint(0, max(stride - kind.width + 1, 1), (_INPUTS, per_row))
    columns = (torch.arange(per_row) * stride + offsets).flatten().to(torch.uint16)
    shape = (len(columns),) if kind.width == 1 else (len(columns), kind.width)
    starts = torch.arange(_INPUTS + 1) * per_row
    return compressed_arrays(torch.ones(shape).to(kind.dtype), columns, starts, None)


def _events() -> Any:
    generator = np.random.default_rng(0)
    events: Any = np.zeros((_VECTORS, _INPUTS), np.float32)
    for vector in events:
        vector[generator.permutation(_INPUTS)[:_FIRED]] = 1.0
    return events


def _seconds(matrix: Any) -> float:
    """Of one vector."""
    events: Any = _events()
    out: Any = np.empty(_OUTPUTS, np.float32)
    scratch: Any = np.empty(_INPUTS, np.int64), np.empty(_INPUTS, np.float32)
    return _best(lambda: _run(out, events, matrix, *scratch)) / _VECTORS


def _measure_dense() -> Cost:
    weight, x = torch.ones(_OUTPUTS, _INPUTS), torch.ones(1, _INPUTS)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with torch.no_grad():
            seconds = _best(lambda: torch.nn.functional.linear(x, weight))
    finally:
        torch.set_num_threads(threads)
    return Cost(0.0, seconds * 1e9 / weight.numel())


def _best(call: Callable[[], object]) -> float:
    """The shortest of several calls, which other programs disturbed least."""
    call()
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
