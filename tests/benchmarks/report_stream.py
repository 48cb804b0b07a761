"""STREAM: how time and memory grow with the points, throughput, where time goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from page_pictures import BLUE, GREY, ORANGE, pyplot
from page_tables import Record, Rows, by_part, key, number, table

PLACE = 55
IMAGE = "stream.svg"
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


def section(record: Record) -> str:
    """The block of the page."""
    parts = by_part(record)
    blocks = [
        "## STREAM\n\nOne layer on one cloud: `StreamConv`, in which each point sees all before it "
        "along each axis; PyG's `PointTransformerConv`, in which it sees its 16 nearest, the "
        "search for them included; and attention of all to all.",
        "![Time and memory by the number of points](images/stream.svg)",
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
    columns: dict[str, Callable[[Any], Any]] = {
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
    columns: dict[str, Callable[[Any], Any]] = {
        "Model": lambda item: MODELS.get(item[0][0], item[0][0]),
        "Parameters": lambda item: item[0][3],
        "Batch": lambda item: item[0][1],
        "A second": lambda item: item[0][2],
        "Inference": _of("inference", "per_second"),
        "Training": _of("training", "per_second"),
    }
    return table(columns, _pivot(rows, ("model", "batch", "unit", "parameters")).items())


def _profile(rows: Rows) -> str:
    columns: dict[str, Callable[[Any], Any]] = {"Part": lambda item: item[0]}
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
