"""One token through one matrix in every storage format: 1350 x 4050, 10 % activity, one thread.

    python tests/benchmarks/event_formats.py [--rounds 15] [--no-save]

A compiled loop multiplies 40 vectors, one after the other, as a compiled token step calls the
product; the time is that of one vector, the median of the rounds. All contenders run in each round.
Weights are random; single weights and blocks are removed at random, which only matters for where
they lie.

    torch.mv            the whole float32 matrix
    oneDNN              the same, the matrix laid out beforehand
    rows <dtype>        dense rows of the units that fired
    single <dtype>      compressed rows, 16-bit columns
    1x16 ...            blocks along the row

Two limits stand beside each time: the bytes that the product must read, at the bandwidth with which
`torch.sum` reads a matrix in the same cache, and the stored entries times the time of one, fitted
to the times of the same format at 80 and 95 %.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from layout import BLUE, GREEN, ORANGE, PURPLE, Columns, key, pyplot, table
from numba import njit
from record import Record, Rows
from script import finish, parser
from torch import Tensor

from evenfall_kernels import compress_blocks, compress_rows, quantize_rows
from evenfall_kernels.common.dense import DenseProduct
from evenfall_kernels.ops.event_matmul.formats import compressed_arrays, dense_arrays
from evenfall_kernels.ops.event_matmul.loops import multiply_fired

TITLE = "Storage formats of the event-driven product"
ABOUT = (
    "One vector, of which 10 % is not zero, times a matrix of 1350 x 4050 inside compiled code, on "
    "one thread. *Single* weights and *blocks* of 1 x 4 to 1 x 16 were removed. The limits are the "
    "bytes to read over the measured bandwidth, and the stored entries times the time of one. A "
    "removed single weight saves little time where the rows of silent units are skipped already; a "
    "removed block saves its share."
)
IMAGE, ALT = "event-formats.svg", "Times faster than torch.mv, by the share of removed weights"
UNITS, OUTPUTS, ACTIVITY, VECTORS = 1350, 3 * 1350, 0.1, 40
FIRED = round(ACTIVITY * UNITS)
REMOVED = (0.8, 0.9, 0.95)
WIDTHS = {1: "single", 4: "1x4", 8: "1x8", 16: "1x16"}
Contender = tuple[Callable[[], object], dict[str, Any]]


@njit
def run_all(out: Any, events: Any, matrix: Any, rows: Any, coefficients: Any) -> None:
    """The products of all vectors, one after the other."""
    for n in range(events.shape[0]):
        multiply_fired(out, events[n], matrix, rows, coefficients)


def event_vectors() -> Tensor:
    """Vectors in which exactly the share ACTIVITY of the units fired."""
    events = torch.zeros(VECTORS, UNITS)
    for vector in events:
        vector[torch.randperm(UNITS)[:FIRED]] = torch.randn(FIRED)
    return events


def prune(weight: Tensor, removed: float, width: int) -> Tensor:
    """Keep an exact share of the blocks of each gate; the last one of a gate is short."""
    blocks = -(-UNITS // width)
    kept = torch.rand(UNITS, 3, blocks).flatten().argsort().argsort()
    kept = (kept >= round(removed * kept.numel())).view(UNITS, 3, blocks)
    mask = kept.repeat_interleave(width, dim=2)[..., :UNITS].reshape(UNITS, OUTPUTS)
    return weight * mask


def contenders(weight: Tensor, events: Tensor) -> dict[str, Contender]:
    """Name -> what multiplies all vectors, and what is known of it."""
    transposed, laid_out = weight.t(), DenseProduct(weight, rows=1_000)
    whole = {"bytes_read": weight.nbytes, "entries_read": weight.numel(), "removed": 0.0}
    found: dict[str, Contender] = {
        "torch.mv": (lambda: [torch.mv(transposed, one) for one in events], whole),
        "oneDNN": (lambda: [laid_out(one[None]) for one in events], whole),
    }
    for dtype in ("float32", "bfloat16", "int8"):
        found[f"rows {dtype}"] = rows_of(weight, getattr(torch, dtype), events)
    for width, name in WIDTHS.items():
        for removed in REMOVED:
            pruned = prune(weight, removed, width)
            dtypes = ("float32", "bfloat16", "int8") if removed == 0.9 else ("float32",)
            for dtype in dtypes:
                label = f"{name} {removed:.0%} {dtype}"
                found[label] = entries_of(pruned, width, getattr(torch, dtype), events, removed)
    return found


def rows_of(weight: Tensor, dtype: torch.dtype, events: Tensor) -> Contender:
    values, scale = quantize_rows(weight) if dtype == torch.int8 else (weight.to(dtype), None)
    exact = values.float() if scale is None else values.float() * scale[:, None]
    entries = FIRED * OUTPUTS
    about = {"bytes_read": entries * dtype.itemsize, "entries_read": entries, "removed": 0.0}
    return compiled(dense_arrays(values, scale), exact, events), about


def entries_of(
    pruned: Tensor, width: int, dtype: torch.dtype, events: Tensor, removed: float
) -> Contender:
    matrix = (
        compress_rows(pruned, dtype=dtype)
        if width == 1
        else compress_blocks(pruned, width, dtype=dtype)
    )
    arrays = compressed_arrays(matrix.values, matrix.columns, matrix.row_starts, matrix.scale)
    share = FIRED / UNITS
    about = {
        "bytes_read": round(share * matrix.nbytes),
        "entries_read": round(share * len(matrix.values)),
        "removed": removed,
    }
    return compiled(arrays, matrix.dense().float(), events), about


def compiled(matrix: Any, exact: Tensor, events: Tensor) -> Callable[[], object]:
    """The product in compiled code, checked against the dense one."""
    out, arrays = np.empty(OUTPUTS, np.float32), events.numpy()
    scratch = np.empty(UNITS, np.int64), np.empty(UNITS, np.float32)
    run_all(out, arrays, matrix, *scratch)
    torch.testing.assert_close(torch.from_numpy(out), events[-1] @ exact, rtol=1e-3, atol=1e-3)
    return lambda: run_all(out, arrays, matrix, *scratch)


def measure(found: dict[str, Contender], rounds: int) -> dict[str, float]:
    """Median microseconds of one vector."""
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, (call, _) in found.items():
            call()  # the contender before it has filled the caches
            start = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - start) / VECTORS * 1e6)
    return {name: statistics.median(some) for name, some in times.items()}


def bandwidth(size: int, rounds: int) -> float:
    """Bytes a microsecond at which torch.sum reads `size` bytes, once they are in the cache."""
    memory = torch.ones(size // 4)
    times = []
    for _ in range(max(rounds, 3) * 3):
        start = time.perf_counter()
        memory.sum()
        times.append((time.perf_counter() - start) * 1e6)
    return memory.nbytes / statistics.median(times)


def entry_times(medians: dict[str, float], found: dict[str, Contender]) -> dict[str, float]:
    """Microseconds of one stored entry: the slope between the least and the most entries."""
    slopes = {}
    for name in WIDTHS.values():
        many, few = (f"{name} {removed:.0%} float32" for removed in (REMOVED[0], REMOVED[-1]))
        entries = found[many][1]["entries_read"] - found[few][1]["entries_read"]
        slopes[name] = (medians[many] - medians[few]) / entries
    return slopes


def run(rounds: int) -> Rows:
    """One row for each contender."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    weight, events = torch.randn(UNITS, OUTPUTS), event_vectors()
    found = contenders(weight, events)
    medians = measure(found, rounds)
    slopes, rows = entry_times(medians, found), []
    for name, (_, about) in found.items():
        family = name.split()[0]
        limit = about["entries_read"] * slopes[family] if family in slopes else None
        stored = about["bytes_read"] * (1 if family in ("torch.mv", "oneDNN") else UNITS / FIRED)
        rows.append(
            {
                "product": name,
                **about,
                "microseconds": round(medians[name], 2),
                "times_faster_than_mv": round(medians["torch.mv"] / medians[name], 2),
                "times_faster_than_onednn": round(medians["oneDNN"] / medians[name], 2),
                "limit_of_bytes": round(about["bytes_read"] / bandwidth(int(stored), rounds), 2),
                "limit_of_entries": None if limit is None else round(limit, 2),
            }
        )
    return rows


def tables(record: Record) -> str:
    """A row for each product."""
    columns: Columns = {
        "Product": key("product"),
        "Time, us": key("microseconds"),
        "Times faster than torch.mv": key("times_faster_than_mv"),
        "than oneDNN": key("times_faster_than_onednn"),
        "KB read": lambda row: row["bytes_read"] / 1000,
        "Limit of bytes, us": key("limit_of_bytes"),
        "Limit of entries, us": key("limit_of_entries"),
    }
    return table(columns, record["rows"])


def picture(rows: Rows) -> None:
    """Speed-up over torch.mv against the share of removed weights."""
    plt = pyplot()
    _, axes = plt.subplots(figsize=(7, 4.2))
    colours = zip(WIDTHS.values(), (PURPLE, BLUE, GREEN, ORANGE), strict=True)
    for name, colour in colours:
        mine = [
            row for row in rows if row["product"].split()[0] == name and "float32" in row["product"]
        ]
        xs = [row["removed"] * 100 for row in mine]
        axes.plot(xs, [row["times_faster_than_mv"] for row in mine], "-o", color=colour,
                  label=f"{name} float32")  # fmt: skip
    for row in rows:
        if row["product"].startswith("rows"):
            axes.axhline(row["times_faster_than_mv"], color="grey", linewidth=0.8)
            axes.annotate(row["product"], (95, row["times_faster_than_mv"]), fontsize=8,
                          ha="right", va="bottom")  # fmt: skip
    axes.set(xlabel="weights removed, %", ylabel="times faster than torch.mv", yscale="log",
             xticks=[removed * 100 for removed in REMOVED])  # fmt: skip
    axes.yaxis.set_major_formatter(plt.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.legend(fontsize=8)


def main() -> None:
    options = parser(__doc__, rounds=15).parse_args()
    with torch.no_grad():
        rows = run(options.rounds)
    notes = (
        f"{UNITS} x {OUTPUTS}, {FIRED} units fired, one thread, medians of {options.rounds} rounds "
        f"of {VECTORS} vectors each"
    )
    finish("event_formats", rows, options, notes)


if __name__ == "__main__":
    main()
