"""The selective scan: sizes, rivals, memory."""

from __future__ import annotations

from page_pictures import BLUE, GREY, ORANGE, pyplot
from page_tables import Record, Rows, by_part, key, table

PLACE = 40
IMAGE = "selective-scan.svg"


def section(record: Record) -> str:
    """The block of the page."""
    sizes, versus, memory = tables(record)
    return "\n\n".join(
        [
            "## The selective scan\n\nThe *bare loop* does the same exponentials and multiply-adds "
            "and touches no memory: it is this machine's limit.",
            "![Milliseconds by number of steps](images/selective-scan.svg)",
            sizes,
            "Against the PyTorch path of `transformers` and the parallel scan of `mamba.py`, one "
            "sequence of 1536 channels and 16 states. Backward, the time of `transformers` grows "
            "with the square of the number of steps.",
            versus,
            "Memory above the inputs, at its peak. *Recorded* is the forward pass of training, "
            "which keeps what the backward pass wants; `transformers` needs that and more, in a "
            "backward pass too long to be measured here.",
            memory,
        ]
    )


def tables(record: Record) -> tuple[str, str, str]:
    """Sizes, rivals and memory."""
    sizes = {
        "Batch": key("batch"),
        "Channels": key("channels"),
        "Steps": key("length"),
        "States": key("states"),
        "Forward, ms": key("forward_ms"),
        "Forward + backward, ms": key("forward+backward_ms"),
        "Bare loop, ms": key("bare_loop_ms"),
        "Forward / bare": key("forward/bare"),
        "10⁹ exp a second": key("1e9_exponentials_a_second"),
        "10⁹ multiply-adds a second": key("1e9_multiply_adds_a_second"),
    }
    versus = {
        "Against": key("rival"),
        "Steps": key("length"),
        "Pass": key("pass"),
        "Its ms": key("rival_ms"),
        "`selective_scan`, ms": key("evenfall_ms"),
        "Times faster": key("times_faster"),
    }
    memory = {"What": key("what"), "Steps": key("length"), "Peak, MiB": key("peak_mib")}
    parts = by_part(record)
    return (
        table(sizes, parts.get("size", [])),
        table(versus, parts.get("versus", [])),
        table(memory, parts.get("memory", [])),
    )


def picture(rows: Rows) -> None:
    """Milliseconds against the number of steps, for one sequence with 16 states."""
    plt = pyplot()
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
