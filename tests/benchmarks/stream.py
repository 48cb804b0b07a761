r"""STREAM: time and memory by the number of points, throughput of the models, where time goes.

    MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=8000000000 \
        python tests/benchmarks/stream.py [--quick] [--no-save] [--rounds N]

The variables make the C library keep what is freed for the next call. Without them the system takes
arrays of over 32 MiB back each time and hands out pages anew, zeroed one by one, and large clouds
spend more time on that than on arithmetic, those of every layer measured here alike.

StreamConv stands against PyG's PointTransformerConv over 16 neighbours, whose graph is built anew
in each call, and against dense attention. Each memory figure is taken in a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from layout import BLUE, GREY, ORANGE, Columns, by_part, key, number, pyplot, table
from record import Record, Rows
from script import command_of, finish, parser
from stream_parts.online import online
from stream_parts.profile import shares
from stream_parts.scaling import LARGEST, SIZES, THREADS, scaling
from stream_parts.throughput import clouds, recordings, throughput

TITLE = "STREAM"
ABOUT = (
    "One layer on one cloud: `StreamConv`, in which each point sees all before it along each axis; "
    "PyG's `PointTransformerConv`, in which it sees its 16 nearest, the search for them included; "
    "and attention of all to all."
)
IMAGE, ALT = "stream.svg", "Time and memory by the number of points"
ROUNDS = 3
ALLOCATOR = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "THP_MEM_ALLOC_ENABLE")
LAYERS = {
    "StreamConv": (BLUE, "StreamConv"),
    "PointTransformerConv": (ORANGE, "PointTransformerConv, 16 neighbours"),
    "dense attention": (GREY, "dense attention"),
}
FORWARD, BOTH = "forward", "forward + backward"
MODELS = {
    "stream": "`StreamClassifier`",
    "pointmamba": "the same, `pointmamba`",
    "pointnet": "the same, `pointnet`",
    "stream, events": "`EventStreamClassifier`",
}
ONLINE = {
    "Events at a time": key("events_at_a_time"),
    "Logits": key("logits"),
    "Events a second": key("events_per_second"),
    "µs a push": key("microseconds_a_push"),
}


def profiles(quick: bool) -> Rows:
    """Both models, inference and training of a batch."""
    batch = 3 if quick else 32
    tasks = {
        "clouds": clouds("stream", 128 if quick else 1024, batch),
        "events": recordings(200 if quick else 4096, batch),
    }
    return [
        row
        for name, task in tasks.items()
        for what in ("inference", "training")
        for row in shares(name, what, task)
    ]


def measure(quick: bool, rounds: int) -> Rows:
    torch.set_num_threads(THREADS)
    rounds = 1 if quick else rounds
    rows = scaling(quick, rounds) + throughput(quick, rounds) + online(quick, rounds)
    return rows + profiles(quick)


def command(rounds: int) -> str:
    """What to run to measure again, with the variables of the allocator that were set."""
    variables = [f"{name}={os.environ[name]} " for name in ALLOCATOR if name in os.environ]
    asked = "" if rounds == ROUNDS else f" --rounds {rounds}"
    return f"{''.join(variables)}{command_of('stream')}{asked}"


def limits() -> str:
    """Which layer was not taken to the largest cloud, and how far it was."""
    found = [f"{name} up to {n:,} points" for name, n in LARGEST.items() if n < SIZES[-1]]
    return f"Taken no further than a few seconds: {', '.join(found)}."


def tables(record: Record) -> str:
    """Time and memory by size, throughput, the online stream, where the time goes."""
    parts = by_part(record)
    blocks = [
        _by_size(parts.get("scaling", [])),
        _growth(parts.get("growth", [])),
        "The models of the published checkpoints and their baselines of the same width:",
        _throughput(parts.get("throughput", [])),
        "`OnlineClassifier` reading one stream, by how many events are pushed at a time and how "
        "often its logits are asked for:",
        table(ONLINE, parts.get("online", [])),
        "Where the time of a batch goes; *tokens* are farthest points, neighbours and the small "
        "PointNet over them, *order* is sorting.",
        _profile(parts.get("profile", [])),
    ]
    return "\n\n".join(block for block in blocks if block)


def _pivot(rows: Rows, columns: tuple[str, ...]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Rows that differ in their pass alone, together: the columns' values -> pass -> row."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in columns), {})[row["pass"]] = row
    return found


def _of(what: str, name: str) -> Callable[[Any], Any]:
    return lambda item: item[1].get(what, {}).get(name)


def _by_size(rows: Rows) -> str:
    columns: Columns = {
        "Points": lambda item: item[0][0],
        "Layer": lambda item: item[0][1],
        "Forward, ms": _of(FORWARD, "ms"),
        "Forward + backward, ms": _of(BOTH, "ms"),
        "Forward, MiB": _of(FORWARD, "peak_mib"),
        "Forward + backward, MiB": _of(BOTH, "peak_mib"),
    }
    return table(columns, _pivot(rows, ("points", "layer")).items())


def _growth(rows: Rows) -> str:
    """A sentence on the largest step of each layer's that all its figures reach."""
    lines = []
    for (layer, points), passes in _pivot(rows, ("layer", "points")).items():
        few = points // passes[FORWARD]["times"]
        forward, both = (number(passes[what]["times_as_long"]) for what in (FORWARD, BOTH))
        lines.append(
            f"- `{layer}`, {few:,} to {points:,} points: {forward} times as long forward, {both} "
            "times forward and backward."
        )
    return "\n".join(["With eight times as many points:\n", *lines]) if lines else ""


def _throughput(rows: Rows) -> str:
    columns: Columns = {
        "Model": lambda item: MODELS.get(item[0][0], item[0][0]),
        "Parameters": lambda item: item[0][3],
        "Batch": lambda item: item[0][1],
        "A second": lambda item: item[0][2],
        "Inference": _of("inference", "per_second"),
        "Training": _of("training", "per_second"),
    }
    return table(columns, _pivot(rows, ("model", "batch", "unit", "parameters")).items())


def _profile(rows: Rows) -> str:
    columns: Columns = {"Part": lambda item: item[0]}
    where: dict[str, dict[str, float]] = {}
    for row in sorted(rows, key=lambda row: -row["share"]):
        heading = f"{row['model'].capitalize()}, {row['pass']}"
        where.setdefault(row["where"], {})[heading] = row["share"]
    for heading in dict.fromkeys(f"{row['model'].capitalize()}, {row['pass']}" for row in rows):
        columns[heading] = lambda item, heading=heading: _percent(item[1].get(heading))
    return table(columns, where.items())


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share * 100:.3g} %"


def picture(rows: Rows) -> None:
    """Two panels over the points, all logarithmic: milliseconds, and MiB."""
    plt = pyplot()
    found = [row for row in rows if row["part"] == "scaling"]
    sizes = sorted({row["points"] for row in found})
    _, panels = plt.subplots(1, 2, figsize=(9, 3.8))
    for axes, (name, label) in zip(
        panels, (("ms", "ms"), ("peak_mib", "MiB above what was there")), strict=True
    ):
        for layer, (colour, title) in LAYERS.items():
            for what, style in ((BOTH, "-o"), (FORWARD, "--")):
                mine = [r for r in found if (r["layer"], r["pass"]) == (layer, what)]
                axes.plot(
                    [row["points"] for row in mine], [row[name] for row in mine], style,
                    color=colour, markersize=4, label=f"{title}, {what}",
                )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel="points", ylabel=label)
        axes.set_xticks(sizes, [f"{size // 1024}k" for size in sizes])
        axes.minorticks_off()
    handles, labels = panels[0].get_legend_handles_labels()
    panels[0].figure.legend(
        handles, labels, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 0.0)
    )
    panels[0].figure.tight_layout()


def main() -> None:
    options = parser(__doc__, rounds=ROUNDS, quick=True).parse_args()
    notes = (
        f"Float32, {THREADS} threads, medians of {options.rounds}. Layers: 64 channels in and out, "
        "one cloud; StreamConv along 3 axes with 16 states, dense attention with 4 heads. Memory: "
        f"the most above what was resident before, in a process of its own. {limits()} "
        "Models: random clouds of 1,024 points and recordings of 4,096 events over 300 ms. "
        "Training is a forward and backward pass and a step of AdamW; the heads of the cloud "
        "models normalise over the batch and cannot train on one cloud. The profile was taken "
        "once, with torch's profiler running."
    )
    rows = measure(options.quick, options.rounds)
    finish("stream", rows, options, notes, command(options.rounds))


if __name__ == "__main__":
    main()
