"""The pictures of docs/benchmarks.md: one a record that has one, in colours all can tell apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
# A fixed salt and no date: the same figures give the same file.
matplotlib.rcParams |= {"svg.hashsalt": "eventide", "font.size": 9, "axes.grid": True,
                        "grid.alpha": 0.3, "axes.axisbelow": True}  # fmt: skip

from matplotlib import pyplot as plt  # noqa: E402

# Okabe and Ito's palette
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#777777",
)  # fmt: skip

LINES = {
    "dense oneDNN": (GREY, "--", "oneDNN, whole matrix"),
    "gather": (PURPLE, "-.", "index_select, then dense"),
    "event float32": (BLUE, "-o", "event_matmul, float32"),
    "event bfloat16": (ORANGE, "-s", "event_matmul, bfloat16"),
    "event int8": (GREEN, "-^", "event_matmul, int8"),
    "in egru_scan float32": (RED, ":o", "inside egru_scan, float32"),
    "in egru_scan bfloat16": (RED, ":s", "inside egru_scan, bfloat16"),
}


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def event_product(rows: list[dict[str, Any]]) -> None:
    """Speed-up over torch.mv against activity, both logarithmic."""
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
    plain = matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_formatter(plain)
    axes.yaxis.set_major_formatter(plain)
    axes.legend(fontsize=8, loc="lower left")


def egru_scan(rows: list[dict[str, Any]]) -> None:
    """One panel a size, bars in milliseconds."""
    panels: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for row in rows:
        panels.setdefault((row["batch"], row["steps"], row["inputs"], row["units"]), []).append(row)
    figure, all_axes = plt.subplots(-(-len(panels) // 2), 2, figsize=(9, 5), squeeze=False)
    for axes, (size, found) in zip(all_axes.flat, panels.items(), strict=False):
        bars = [("nn.GRU", found[0]["nn.GRU_ms"], GREY),
                ("products, torch.mm", found[0]["products_ms"], ORANGE),
                ("products, oneDNN", found[0]["oneDNN_products_ms"], ORANGE)]  # fmt: skip
        bars += [
            (f"egru_scan, {row['scan'].replace('threshold', 'thr.')}", row["scan_ms"], BLUE)
            for row in found
        ]
        names, values, colours = zip(*bars[::-1], strict=True)
        axes.bar_label(axes.barh(names, values, color=colours), fmt=_short, padding=2, fontsize=8)
        axes.margins(x=0.15)
        batch, steps, inputs, units = size
        axes.set_title(f"batch {batch}, {steps} steps, {inputs} → {units}", fontsize=9)
        axes.set_xlabel("ms, forward and backward")
    for axes in all_axes.flat[len(panels) :]:
        axes.set_visible(False)
    figure.tight_layout()


def generate(rows: list[dict[str, Any]]) -> None:
    """Tokens a second, one group of bars a model, one colour a number of threads."""
    ways = list(dict.fromkeys(row["way"] for row in rows))[::-1]
    threads = list(dict.fromkeys(row["threads"] for row in rows))
    _, axes = plt.subplots(figsize=(7.5, 0.9 + 0.55 * len(ways)))
    height = 0.8 / len(threads)
    for index, (count, colour) in enumerate(zip(threads, (BLUE, ORANGE, GREEN), strict=False)):
        speed = {row["way"]: row["tokens_per_second"] for row in rows if row["threads"] == count}
        places = [i + 0.4 - (index + 0.5) * height for i in range(len(ways))]
        drawn = axes.barh(places, [speed.get(way, 0) for way in ways], height, color=colour,
                          label=f"{count} thread{'s' * (count > 1)}")  # fmt: skip
        axes.bar_label(drawn, fmt="%.0f", padding=2, fontsize=8)
    axes.set_yticks(range(len(ways)), ways)
    axes.set_xlabel("tokens a second")
    axes.margins(x=0.12)
    axes.legend(fontsize=8, loc="lower right")


def selective_scan(rows: list[dict[str, Any]]) -> None:
    """Milliseconds against the number of steps, for one sequence with 16 states."""
    chosen = [r for r in rows if r["part"] == "size" and (r["batch"], r["states"]) == (1, 16)]
    chosen.sort(key=lambda row: row["length"])
    steps = [row["length"] for row in chosen]
    _, axes = plt.subplots(figsize=(7, 3.8))
    for name, colour, style, label in (
        ("forward+backward_ms", ORANGE, "-s", "forward + backward"),
        ("forward_ms", BLUE, "-o", "forward"),
        ("bare_loop_ms", GREY, "--", "bare loop"),
    ):
        axes.plot(steps, [row[name] for row in chosen], style, color=colour, label=label)
    axes.set(xscale="log", yscale="log", xlabel="steps", ylabel="ms")
    axes.set_xticks(steps, [f"{count:,}" for count in steps])
    axes.minorticks_off()
    axes.legend(fontsize=8)


def mamba(rows: list[dict[str, Any]]) -> None:
    """One bar a task, cut where its time goes."""
    found = [row for row in rows if row["part"] == "profile"]
    tasks = list(dict.fromkeys(row["task"] for row in found))[::-1]
    parts = list(dict.fromkeys(row["where"] for row in found))
    colours = (GREY, BLUE, GREEN, ORANGE, PURPLE, RED, "#56B4E9")
    _, axes = plt.subplots(figsize=(8, 2.4))
    left = [0.0] * len(tasks)
    for part, colour in zip(parts, colours, strict=False):
        taken = {row["task"]: row["share"] * 100 for row in found if row["where"] == part}
        widths = [taken.get(task, 0.0) for task in tasks]
        axes.barh(tasks, widths, left=left, color=colour, label=part)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_xlabel("share of the time after the patch, %")
    axes.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.28))


PICTURES: dict[str, tuple[str, Callable[[list[dict[str, Any]]], None]]] = {
    "event_matmul": ("event-product.svg", event_product),
    "egru_scan": ("egru-scan.svg", egru_scan),
    "generate": ("generate.svg", generate),
    "selective_scan": ("selective-scan.svg", selective_scan),
    "mamba": ("mamba.svg", mamba),
}


def draw(record: dict[str, Any], folder: Path) -> None:
    """Write the record's picture into `folder`, where it has one."""
    if record["name"] not in PICTURES or not record["rows"]:
        return
    name, plot = PICTURES[record["name"]]
    plot(record["rows"])
    plt.savefig(folder / name, bbox_inches="tight", metadata={"Date": None})
    plt.close("all")
