"""The three pictures of a study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from evenfall.pictures import make_figure, palette_colour, save_figure

from .counts import LAYERS
from .summary import Point, list_points

Place = tuple[float, float]
Line = tuple[str, str, list[Place]]

_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES = (":", "-", "--", "-.")


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
            figure = _draw(lines, labels, log_y=name != "macs.png", diagonal=name == "speedup.png")
            files.append(save_figure(figure, Path(output) / name))
    return files


def _lines(points: list[Point], place: Callable[[Point], Place | None]) -> Iterator[Line]:
    """(model, method, places) of each line, from the dense model on."""
    for model in dict.fromkeys(point.model for point in points):
        mine = [point for point in points if point.model == model]
        start = [point for point in mine if point.method is None]
        for method in dict.fromkeys(point.method for point in mine if point.method is not None):
            found = [*start, *(point for point in mine if point.method == method)]
            places = [one for one in map(place, found) if one is not None]
            if places:
                yield model, method, places


def _draw(lines: list[Line], labels: list[str], *, log_y: bool, diagonal: bool) -> Any:
    """Models have a colour each, methods a marker and a dash."""
    figure = make_figure(7.2, 4.4)
    axes = figure.add_subplot()
    models = list(dict.fromkeys(model for model, _, _ in lines))
    methods = list(dict.fromkeys(method for _, method, _ in lines))
    for model, method, places in lines:
        colour, style = palette_colour(models.index(model)), _style(methods.index(method))
        axes.plot(*zip(*places, strict=True), color=colour, **style)
    for index, model in enumerate(models):
        axes.plot([], [], color=palette_colour(index), linewidth=4, label=model)
    for index, method in enumerate(methods):
        axes.plot([], [], color="0.4", label=method, **_style(index))
    if diagonal:
        reached = [x for _, _, places in lines for x, _ in places]
        ends = [min(reached), max(reached)]
        axes.plot(ends, ends, color="0.6", linestyle=":", label="speed-up = reduction")
    axes.set(xscale="log", yscale="log" if log_y else "linear", xlabel=labels[0], ylabel=labels[1])
    for axis in (axes.xaxis, axes.yaxis) if log_y else (axes.xaxis,):
        _plain_ticks(axis)
    axes.grid(visible=True, which="both", alpha=0.25)
    figure.legend(loc="outside right upper", fontsize=9, frameon=False)
    return figure


def _style(index: int) -> dict[str, Any]:
    marker, dash = _MARKERS[index % len(_MARKERS)], _DASHES[index % len(_DASHES)]
    return {"marker": marker, "linestyle": dash, "linewidth": 1.2, "markersize": 5}


def _plain_ticks(axis: Any) -> None:
    """1, 2, 5, 10, ... instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _speed(point: Point) -> float | None:
    """Tokens per second in the loop, every weight kept; None if it was not measured."""
    figure = point.speed("loop")
    return None if figure is None else figure.mean
