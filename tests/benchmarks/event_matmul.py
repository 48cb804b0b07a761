"""How much faster a product gets when silent units are left out: one token, H = 1350, CPU.

    python tests/benchmarks/event_matmul.py [--rounds 8] [--no-save]

Every contender runs in every round, in short bursts over fresh event vectors, so that a busy
moment of the machine hits all of them. Times are medians of single calls, Python included; a matrix
that fits the last-level cache is in it, for dense and event products alike.

    dense             torch.mv over the whole float32 matrix, on two threads
    dense oneDNN      the same through oneDNN, the matrix laid out beforehand
    gather            torch.index_select of the fired rows, then a dense product
    in egru_scan ...  the compiled product inside egru_scan's step for one sequence, ten at a time
    event <format>    event_matmul, weights in that format
    event 10 % <...>  event_matmul over compressed rows with 90 % of the weights pruned

`bytes read` counts the stored entries of fired rows and nothing else. `stream_gb_s` is what
torch.sum reaches over a matrix of the same size in the same run, the yardstick for `gb_s`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from layout import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Columns, pyplot, table
from numba import njit
from record import Record, Rows
from script import finish, parser
from torch import Tensor

from evenfall_kernels import CompressedRows, compress_rows, event_matmul, quantize_rows
from evenfall_kernels.common.dense import DenseProduct
from evenfall_kernels.cpu.stored_dtypes import as_stored
from evenfall_kernels.ops.event_matmul.loops_dense import event_product

TITLE = "Event-driven products"
ABOUT = (
    "Microseconds for one vector of events times one matrix, by the share of units that fired. "
    "`torch.mv` and oneDNN read the whole matrix; *gather* is `torch.index_select` and a dense "
    "product; *event* is `event_matmul`, Python and checks included; *in the scan* is the compiled "
    "product alone, as `egru_scan` calls it; in the last column nine weights in ten are pruned."
)
IMAGE, ALT = "event-product.svg", "How many times faster than torch.mv each product is"
UNITS, OUTPUTS = 1350, 3 * 1350
ACTIVITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0)
BURST, WARM_UP, VECTORS, THREADS = 40, 20, 60, 2
STEPS = 10  # products of a scan timed together

Product = Callable[[Tensor], Any]


def contenders(weight: Tensor) -> dict[str, tuple[Product, float]]:
    """Name -> (product of one event vector, bytes stored for one unit on average)."""
    transposed, pruned = weight.t(), weight * (torch.rand(weight.shape) < 0.1)
    quantized, scale = quantize_rows(weight)
    low = weight.bfloat16()
    laid_out = DenseProduct(weight, rows=1_000)
    rows = {name: compress_rows(pruned, dtype=dtype) for name, dtype in COMPRESSED.items()}
    found: dict[str, tuple[Product, float]] = {
        "dense": (lambda events: torch.mv(transposed, events), 4.0 * OUTPUTS),
        "dense oneDNN": (lambda events: laid_out(events[None]), 4.0 * OUTPUTS),
        "event float32": (lambda events: event_matmul(events, weight), 4.0 * OUTPUTS),
        "event bfloat16": (lambda events: event_matmul(events, low), 2.0 * OUTPUTS),
        "event int8": (lambda events: event_matmul(events, quantized, scale=scale), 1.0 * OUTPUTS),
    }
    found["in egru_scan float32"] = InsideScan(weight), 4.0 * OUTPUTS
    found["in egru_scan bfloat16"] = InsideScan(low), 2.0 * OUTPUTS
    for name, matrix in rows.items():
        found[f"event 10 % {name}"] = product_with(matrix), entry_bytes(matrix) / UNITS
    # Last, for it wakes PyTorch's threads, which spin for a while afterwards.
    found["gather"] = (lambda events: gather(events, weight)), 4.0 * OUTPUTS
    return found


@njit
def steps(out: Any, events: Any, weight: Any, rows: Any, coefficients: Any) -> None:
    """The recurrent products of a scan of one sequence, one after the other, as it runs them."""
    for step in range(events.shape[0]):
        event_product(out, events[step], weight, rows, coefficients)


class InsideScan:
    """The compiled product that egru_scan calls at every step, without event_matmul's checks."""

    def __init__(self, weight: Tensor) -> None:
        self.weight, self.out = as_stored(weight), np.empty(OUTPUTS, np.float32)
        self.rows, self.coefficients = np.empty(UNITS, np.int64), np.empty(UNITS, np.float32)

    def __call__(self, events: Tensor) -> Tensor:
        """One vector, (I,), or a step each, (T, I)."""
        steps(self.out, events.view(-1, UNITS).numpy(), self.weight, self.rows, self.coefficients)
        return torch.from_numpy(self.out)


COMPRESSED = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}


def gather(events: Tensor, weight: Tensor) -> Tensor:
    """What plain PyTorch offers: copy the fired rows, then multiply."""
    fired = events.nonzero().squeeze(1)
    return torch.mv(weight.index_select(0, fired).t(), events.index_select(0, fired))


def product_with(rows: CompressedRows) -> Product:
    return lambda events: event_matmul(events, rows)


def entry_bytes(rows: CompressedRows) -> int:
    return rows.values.nbytes + rows.columns.nbytes


def event_vectors(activity: float) -> list[Tensor]:
    """Vectors in which exactly that share of the units fired."""
    fired = max(1, round(activity * UNITS))
    vectors = []
    for _ in range(VECTORS):
        vector = torch.zeros(UNITS)
        vector[torch.randperm(UNITS)[:fired]] = torch.randn(fired)
        vectors.append(vector)
    return vectors


def seconds(product: Product, vectors: list[Tensor], first: int) -> list[float]:
    """Seconds of each call of a burst, once the contender before it is out of the caches.

    All units fire at first: in a running network the whole matrix is in the cache, whatever fires.
    """
    for vector in [torch.ones(UNITS), *vectors[:WARM_UP]]:
        product(vector)
    times = []
    if isinstance(product, InsideScan):
        for some in torch.stack(vectors[:BURST]).split(STEPS):
            start = time.perf_counter()
            product(some)
            times += [(time.perf_counter() - start) / STEPS] * STEPS
        return times
    for call in range(first, first + BURST):
        start = time.perf_counter()
        product(vectors[call % VECTORS])
        times.append(time.perf_counter() - start)
    return times


def measure(
    products: dict[str, tuple[Product, float]], vectors: list[Tensor], rounds: int
) -> dict[str, float]:
    """Median seconds of each contender."""
    times: dict[str, list[float]] = {name: [] for name in products}
    for turn in range(rounds):
        for name, (product, _) in products.items():
            times[name] += seconds(product, vectors, turn * BURST)
    return {name: statistics.median(values) for name, values in times.items()}


def stream_bandwidth(weight: Tensor, rounds: int) -> float:
    """Bytes a second at which torch.sum reads the matrix."""
    times = seconds(lambda _: weight.sum(), [weight] * VECTORS, 0)
    for _ in range(rounds - 1):
        times += seconds(lambda _: weight.sum(), [weight] * VECTORS, 0)
    return weight.nbytes / statistics.median(times)


def check(products: dict[str, tuple[Product, float]], weight: Tensor) -> None:
    """A benchmark of a wrong result is worth nothing."""
    events = event_vectors(0.1)[0]
    wanted = events @ weight
    for name in ("dense", "gather", "event float32", "in egru_scan float32"):
        torch.testing.assert_close(products[name][0](events), wanted, rtol=1e-4, atol=1e-4)


def run(rounds: int) -> Rows:
    """One row for each activity and contender."""
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    weight = torch.randn(UNITS, OUTPUTS)
    products = contenders(weight)
    check(products, weight)
    rows = []
    for activity in ACTIVITIES:
        stream = stream_bandwidth(weight, rounds)
        medians = measure(products, event_vectors(activity), rounds)
        for name, (_, bytes_a_unit) in products.items():
            units = UNITS if name.startswith("dense") else max(1, round(activity * UNITS))
            rows.append(
                {
                    "activity": activity,
                    "product": name,
                    "microseconds": round(medians[name] * 1e6, 1),
                    "times_faster_than_dense": round(medians["dense"] / medians[name], 2),
                    "bytes_read": round(units * bytes_a_unit),
                    "gb_s": round(units * bytes_a_unit / medians[name] / 1e9, 1),
                    "stream_gb_s": round(stream / 1e9, 1),
                }
            )
    return rows


EVENT_PRODUCTS = {
    "dense": "`torch.mv`",
    "dense oneDNN": "oneDNN",
    "gather": "gather",
    "event float32": "event float32",
    "event bfloat16": "event bfloat16",
    "event int8": "event int8",
    "in egru_scan float32": "in the scan, float32",
    "in egru_scan bfloat16": "in the scan, bfloat16",
    "event 10 % float32": "event, 10 % of weights",
}


def tables(record: Record) -> str:
    """Microseconds: a row for each activity, a column for each product."""
    grouped: dict[float, dict[str, dict[str, Any]]] = {}
    for row in record["rows"]:
        grouped.setdefault(row["activity"], {})[row["product"]] = row
    present = {row["product"] for row in record["rows"]}
    columns: Columns = {"Activity": lambda item: f"{item[0] * 100:g} %"}
    for product, heading in EVENT_PRODUCTS.items():
        if product in present:
            columns[heading] = lambda item, name=product: item[1].get(name, {}).get("microseconds")
    return table(columns, grouped.items())


LINES = {
    "dense oneDNN": (GREY, "--", "oneDNN, whole matrix"),
    "gather": (PURPLE, "-.", "index_select, then dense"),
    "event float32": (BLUE, "-o", "event_matmul, float32"),
    "event bfloat16": (ORANGE, "-s", "event_matmul, bfloat16"),
    "event int8": (GREEN, "-^", "event_matmul, int8"),
    "in egru_scan float32": (RED, ":o", "inside egru_scan, float32"),
    "in egru_scan bfloat16": (RED, ":s", "inside egru_scan, bfloat16"),
}


def picture(rows: Rows) -> None:
    """Speed-up over torch.mv against activity, both logarithmic."""
    from matplotlib.ticker import FuncFormatter

    plt = pyplot()
    _, axes = plt.subplots(figsize=(7, 4.2))
    for product, (colour, style, label) in LINES.items():
        mine = [row for row in rows if row["product"] == product]
        if mine:
            xs = [row["activity"] * 100 for row in mine]
            ys = [row["times_faster_than_dense"] for row in mine]
            axes.plot(xs, ys, style, color=colour, label=label, markersize=4)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="units that fired, %",
             ylabel="times faster than torch.mv")  # fmt: skip
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_formatter(plain)
    axes.yaxis.set_major_formatter(plain)
    axes.legend(fontsize=8, loc="lower left")


def main() -> None:
    options = parser(__doc__, rounds=8).parse_args()
    with torch.no_grad():
        rows = run(options.rounds)
    notes = (
        f"{UNITS} x {OUTPUTS}, batch 1, torch on {THREADS} threads, medians of "
        f"{options.rounds * BURST} calls each"
    )
    finish("event_matmul", rows, options, notes)


if __name__ == "__main__":
    main()
