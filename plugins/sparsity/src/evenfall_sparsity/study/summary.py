"""What a study says: means over seeds, and the answers to its questions.

A point is a model, a method and a level; its figures are means over the seeds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

Row = dict[str, Any]

AS_IT_IS, COMPRESSED, ROUNDED = "as it is", "compressed", "rounded"
"""The forms of a model that are timed; only the last changes weights."""


@dataclass(frozen=True)
class Figure:
    """The mean of a number over seeds, and the deviation of the sample; None for one seed."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> Figure:
        """The figure of some values."""
        values = [*values]
        return cls(mean(values), stdev(values) if len(values) > 1 else None)

    def times(self, factor: float) -> Figure:
        """The figure in another unit."""
        return Figure(
            factor * self.mean, None if self.deviation is None else factor * self.deviation
        )


@dataclass(frozen=True)
class Point:
    """One point of a study; `rows` has a row of the table for each seed."""

    model: str
    method: str | None
    level: float
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """The point in words."""
        return self.model if self.method is None else f"{self.model}, {self.method}"

    def metric(self, split: str, name: str) -> Figure:
        """A metric of the trainer."""
        return Figure.of(row["metrics"][split][name] for row in self.rows)

    def macs(self, *parts: str, kind: str = "effective") -> float | None:
        """Operations per token of some parts; None if they were not counted."""
        if any(row.get("counts") is None for row in self.rows):
            return None
        counts = [row["counts"]["macs"] for row in self.rows]
        return mean(sum(one[part][kind] for part in parts) for one in counts)

    def reduction(self, *parts: str) -> float | None:
        """Dense over effective operations of some parts."""
        dense, effective = self.macs(*parts, kind="dense"), self.macs(*parts)
        return None if dense is None or not effective else dense / effective

    def speed(self, way: str, *, rounded: bool = False) -> Figure | None:
        """Tokens per second of the fastest form by "loop" or "generate"; None if not measured.

        Args:
            way: how the text is generated.
            rounded: whether forms that round weights count.
        """
        forms = (AS_IT_IS, COMPRESSED, ROUNDED) if rounded else (AS_IT_IS, COMPRESSED)
        found = []
        for row in self.rows:
            speeds = row.get("speeds", {})
            values = [speeds[form][way] for form in forms if way in speeds.get(form, {})]
            found += [max(values)] if values else []
        return Figure.of(found) if found else None

    def bytes(self) -> float | None:
        """Bytes of all multiplied matrices in the smallest form with every weight kept; None if
        not measured."""
        if any("speeds" not in row for row in self.rows):
            return None
        forms, speeds = (AS_IT_IS, COMPRESSED), [row["speeds"] for row in self.rows]
        return mean(min(one[form]["bytes"] for form in forms if form in one) for one in speeds)

    def count(self, name: str) -> float | None:
        """The mean of a count; see `evenfall_sparsity.study.counts`."""
        if any(row.get("counts") is None for row in self.rows):
            return None
        return mean(row["counts"][name] for row in self.rows)


def list_points(table: dict[str, Any]) -> list[Point]:
    """The points of all runs that did not fail, in the order of the table."""
    groups: dict[tuple[str, str | None, float], list[Row]] = {}
    for row in table["runs"]:
        if "failure" not in row:
            groups.setdefault((row["model"], row["method"], row["level"]), []).append(row)
    return [Point(*place, tuple(rows)) for place, rows in groups.items()]


def dense_row(table: dict[str, Any], row: Row) -> Row:
    """The dense run that a row is compared with: the best, by the first split, of the dense model
    of the same seed and of the lines without pruning; of another seed if this one has none."""
    split, metric = table["splits"][0], table["metric"]
    same = [one for one in table["runs"] if one["model"] == row["model"] and _is_dense(one)]
    found = [one for one in same if one["seed"] == row["seed"]] or same
    sign = -1 if table["greater_is_better"] else 1
    return min(found, key=lambda one: sign * one["metrics"][split][metric])


def _is_dense(row: Row) -> bool:
    return "failure" not in row and (row["method"] is None or not row["prunes"])


def best_reduction(
    table: dict[str, Any], model: str, *parts: str, tolerance: float = 0.05
) -> tuple[Point, float] | None:
    """The point of a model with the largest reduction of operations whose metric is, on the first
    split, at most `tolerance` worse than that of the dense model; None if there is none.

    Args:
        table: the content of study.json.
        model: name of the model.
        parts: of the operations, such as "hidden", or "total".
        tolerance: share of the dense metric.
    """
    found = []
    for point in list_points(table):
        if point.model != model:
            continue
        reduction = point.reduction(*parts)
        rises = [metric_rise(table, row) for row in point.rows]
        if reduction is not None and mean(rises) <= tolerance:
            found.append((point, reduction))
    return max(found, key=lambda one: one[1], default=None)


def metric_rise(table: dict[str, Any], row: Row, split: str | None = None) -> float:
    """By which share a row's metric is worse than that of its dense run; on the first split if none
    is given."""
    split, metric = split or table["splits"][0], table["metric"]
    value = row["metrics"][split][metric]
    dense = dense_row(table, row)["metrics"][split][metric]
    rise: float = (value - dense) / dense
    return -rise if table["greater_is_better"] else rise


def rise_against(table: dict[str, Any], point: Point, other: Point) -> Figure | None:
    """By how much more the metric of a point rises than that of another one, seed by seed; None if
    they have no seed in common."""
    others = {row["seed"]: row for row in other.rows}
    pairs = [(row, others[row["seed"]]) for row in point.rows if row["seed"] in others]
    if not pairs:
        return None
    return Figure.of(metric_rise(table, row) - metric_rise(table, one) for row, one in pairs)
