"""The three pictures of a study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from evenfall.pictures import make_figure, palette_colour, save_figure

from .report import LAYERS
from .summary import Point, list_points

Place = tuple[float, float]

_MARKERS = ("o", "s", "^", "D", "v", "P")
_LOOP = "loop"


def draw_curves(table: dict[str, Any], output: str | Path) -> list[Path]:
    """Draw what the table has figures for: macs.png, the metric against effective MACs; time.png,
    time per token against the product of both densities; speedup.png, speed-up against the
    reduction of MACs.

    Args:
        table: the content of study.json.
        output: folder of the pictures.

    Returns:
        The files.

    Raises:
        ImportError: matplotlib is not installed.
    """
    points, split = list_points(table), table["splits"][-1]
    metric, base_name = table["metric"], f"the dense {table['baseline']}"

    def by_macs(point: Point) -> Place | None:
        macs = point.macs("total")
        return None if macs is None else (macs / 1e6, point.metric(split, metric).mean)

    def by_density(point: Point) -> Place | None:
        reduction, speed = point.reduction(*LAYERS), _speed(point)
        return None if reduction is None or speed is None else (1 / reduction, 1e3 / speed)

    base = next((p for p in points if p.model == table["baseline"] and p.method is None), None)

    def by_reduction(point: Point) -> Place | None:
        macs, speed = point.macs("total"), _speed(point)
        if base is None or macs is None or speed is None:
            return None
        dense, pace = base.macs("total", kind="dense"), _speed(base)
        return None if dense is None or pace is None else (dense / macs, speed / pace)

    pictures = {
        "macs.png": (by_macs, "effective MACs per token, millions", f"{metric}, {split}"),
        "time.png": (by_density, "activity x density of the layers", "ms per token"),
        "speedup.png": (by_reduction, f"MACs of {base_name} / effective MACs", "speed-up over it"),
    }
    files = []
    for name, (place, *labels) in pictures.items():
        lines = [*_lines(points, place)]
        if lines:
            figure = _draw(lines, labels, diagonal=name == "speedup.png")
            files.append(save_figure(figure, Path(output) / name))
    return files


def _lines(
    points: list[Point], place: Callable[[Point], Place | None]
) -> Iterator[tuple[str, int, int, list[Place]]]:
    """(label, number of the model, number of the method, places) of each line."""
    models = list(dict.fromkeys(point.model for point in points))
    methods = list(dict.fromkeys(point.method for point in points if point.method is not None))
    for model in models:
        for method in methods:
            found = [p for p in points if p.model == model and p.method == method]
            if not found:
                continue
            start = [p for p in points if p.model == model and p.method is None]
            places = [one for one in map(place, [*start, *found]) if one is not None]
            if places:
                yield f"{model}, {method}", models.index(model), methods.index(method), places


def _draw(
    lines: list[tuple[str, int, int, list[Place]]], labels: list[str], *, diagonal: bool
) -> Any:
    figure = make_figure(6.4, 4.4)
    axes = figure.add_subplot()
    for label, model, method, places in lines:
        axes.plot(
            *zip(*places, strict=True), color=palette_colour(model), linewidth=1.2, markersize=5,
            marker=_MARKERS[method % len(_MARKERS)], label=label,
        )  # fmt: skip
    if diagonal:
        ends = [min(x for *_, places in lines for x, _ in places)]
        ends.append(max(x for *_, places in lines for x, _ in places))
        axes.plot(ends, ends, color="0.6", linestyle=":", label="as many times as fewer MACs")
    axes.set(xscale="log", yscale="log", xlabel=labels[0], ylabel=labels[1])
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(fontsize=8)
    return figure


def _speed(point: Point) -> float | None:
    """Tokens per second in the loop; None if they were not measured."""
    speeds = [row.get("speeds", {}).get(_LOOP) for row in point.rows]
    return None if None in speeds else sum(speeds) / len(speeds)
