"""A study in words: study.md, with the table and the answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenfall.files import write_text
from evenfall.hub import markdown_table

from .counts import LAYERS, PARTS
from .summary import Figure, Point, best_reduction, list_points, metric_rise, rise_against

_MILLION = 1e6


def write_report(table: dict[str, Any], output: str | Path) -> Path:
    """Write study.md into the folder of the study and return its path."""
    return write_text(Path(output) / "study.md", study_text(table))


def study_text(table: dict[str, Any]) -> str:
    """The report in Markdown: a row for each point, the answers, and what failed."""
    points = list_points(table)
    parts = [_points_table(table, points)]
    answers = _answers(table, points)
    if answers:
        parts.append("\n".join(f"- {answer}" for answer in answers))
    rises = _rises_table(table, points)
    if rises:
        parts.append(rises)
    failures = [row for row in table["runs"] if "failure" in row]
    parts += [f"{row['run']} failed: {row['failure']}" for row in failures]
    return "\n\n".join(parts) + "\n"


def _points_table(table: dict[str, Any], points: list[Point]) -> str:
    metric, splits = table["metric"], table["splits"]
    headings = [
        "model", "method", "removed:", "seeds:", *(f"{metric}, {split}:" for split in splits),
        "activity:", "density:", *(f"{part}, M effective MACs:" for part in PARTS), "reduction:",
        "without decoder:",
    ]  # fmt: skip
    timed = any("speeds" in row for row in table["runs"])
    speeds = {
        f"{way}{', rounded weights' if rounded else ''}, tokens/s:": (way, rounded)
        for rounded in (False, True)
        for way in ("loop", "generate")
        if timed
    }
    sizes = ["matrices, MB:"] if timed else []
    rows = []
    for point in points:
        removed = f"{100 * point.level:g} %" if point.rows[0]["prunes"] else "0 %"
        method = "start" if point.method is None else point.method
        if point.method is not None and not point.rows[0]["prunes"]:
            method = f"{point.method}, {point.rows[0]['steps']} more"
        rows.append([
            point.model, method, removed, len(point.rows),
            *(_figure(point.metric(split, metric)) for split in splits),
            _percent(point.count("activity")), _percent(point.count("density")),
            *(_millions(point.macs(part)) for part in PARTS), _times(point.reduction("total")),
            _times(point.reduction(*LAYERS)),
            *(_size(point) for _ in sizes),
            *(_speed(point.speed(way, rounded=rounded)) for way, rounded in speeds.values()),
        ])  # fmt: skip
    return markdown_table([*headings, *sizes, *speeds], rows)


def _answers(table: dict[str, Any], points: list[Point]) -> list[str]:
    answers = []
    for model in dict.fromkeys(point.model for point in points):
        for what, parts in (("all", ("total",)), ("all but the decoder", LAYERS)):
            best = best_reduction(table, model, *parts)
            if best is not None:
                point, reduction = best
                where = point.method or "the dense model"
                level = f" at {100 * point.level:g} %" if point.rows[0]["prunes"] else ""
                answers.append(
                    f"{model}: the largest reduction of MACs within 5 % of its dense "
                    f"{table['metric']} is {reduction:.1f}x, counted over {what} ({where}{level})"
                )
    return answers


def _rises_table(table: dict[str, Any], points: list[Point]) -> str:
    """By how much the metric of each pruned line is worse than that of its dense model, and by how
    much more that is than of the baseline's line."""
    lines: dict[tuple[str, str], dict[float, Point]] = {}
    for point in points:
        if point.method is not None and point.rows[0]["prunes"]:
            lines.setdefault((point.model, point.method), {})[point.level] = point
    if not lines:
        return ""
    base, rows = table["baseline"], []
    for (model, method), by_level in lines.items():
        rises = {
            level: Figure.of(metric_rise(table, row) for row in point.rows)
            for level, point in by_level.items()
        }
        rows.append([model, method, *_shares(table, rises)])
        others = lines.get((base, method), {})
        if model != base and others:
            more = {
                level: rise_against(table, point, others[level])
                for level, point in by_level.items()
                if level in others
            }
            rows.append([f"{model} - {base}", method, *_shares(table, more)])
    levels = [f"{100 * level:g} % removed:" for level in table["levels"]]
    title = (
        f"Change of the {table['metric']} on {table['splits'][0]} against the dense model, in %:"
    )
    return f"{title}\n\n{markdown_table(['model', 'method', *levels], rows)}"


def _shares(table: dict[str, Any], figures: Mapping[float, Figure | None]) -> list[str]:
    """A cell for each level, in percent."""
    cells = [figures.get(level) for level in table["levels"]]
    return ["-" if one is None else _figure(one.times(100), "+.1f") for one in cells]


def _size(point: Point) -> str:
    size = point.bytes()
    return "-" if size is None else f"{size / 1e6:.2f}"


def _speed(figure: Figure | None) -> str:
    return "-" if figure is None else f"{figure.mean:,.0f}"


def _figure(figure: Figure, form: str = ".2f") -> str:
    deviation = "" if figure.deviation is None else f" ± {figure.deviation:.2g}"
    return f"{figure.mean:{form}}{deviation}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _millions(number: float | None) -> str:
    return "-" if number is None else f"{number / _MILLION:.3f}"


def _times(number: float | None) -> str:
    return "-" if number is None else f"{number:.1f}x"
