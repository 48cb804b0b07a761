"""Event-driven products against the dense one, by activity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from page_pictures import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, pyplot
from page_tables import Record, Rows, table

PLACE = 20
IMAGE = "event-product.svg"

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


def by_activity(rows: Rows) -> dict[float, dict[str, dict[str, Any]]]:
    found: dict[float, dict[str, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["activity"], {})[row["product"]] = row
    return found


def section(record: Record) -> str:
    """The block of the page."""
    grouped = by_activity(record["rows"])
    present = {row["product"] for row in record["rows"]}
    columns: dict[str, Callable[[Any], Any]] = {"Activity": lambda item: f"{item[0] * 100:g} %"}
    for product, heading in EVENT_PRODUCTS.items():
        if product in present:
            columns[heading] = lambda item, name=product: item[1].get(name, {}).get("microseconds")
    return (
        "## Event-driven products\n\nMicroseconds for one vector of events times one matrix, by "
        "the share of units that fired. `torch.mv` and oneDNN read the whole matrix; *gather* is "
        "`torch.index_select` and a dense product; *event* is `event_matmul`, Python and checks "
        "included; *in the scan* is the compiled product alone, as `egru_scan` calls it; in the "
        "last column nine weights in ten are pruned.\n\n"
        "![How many times faster than torch.mv each product is](images/event-product.svg)\n\n"
        + table(columns, grouped.items())
    )


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
