"""Pictures of comparisons: accuracy by rule, and what happens in each block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evenfall.errors import shorten
from evenfall.pictures import PALETTE, make_figure, palette_colour, save_figure

Results = Sequence[dict[str, Any]]


def draw_comparison(results: Results, path: str | Path) -> Path:
    """Draw a dot for the test result of each run, by rule, beside the time of training.

    Args:
        results: of `evenfall blocklocal compare`.
        path: the picture; it appears whole or not at all.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there are no results.
    """
    rules = _rules(results)
    metric = "perplexity" if "test_perplexity" in results[0] else "accuracy"
    factor, unit = (100, ", %") if metric == "accuracy" else (1, "")
    figure = make_figure(8.0, 1.2 + 0.45 * len(rules))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for row, rule in enumerate(rules):
        runs = [one for one in results if one["rule"] == rule]
        scores = [factor * one[f"test_{metric}"] for one in runs]
        mean = sum(scores) / len(scores)
        colour = palette_colour(row)
        left.plot([min(scores), max(scores)], [row, row], color=colour, linewidth=2)
        left.scatter(scores, [row] * len(runs), color=colour, s=30, zorder=3)
        left.annotate(
            f"{mean:.2f}", (mean, row), xytext=(0, 7), textcoords="offset points", fontsize=8,
            ha="center",
        )  # fmt: skip
        seconds = sum(one["seconds"] for one in runs) / len(runs)
        right.barh(row, seconds, color=colour, height=0.5)
    left.set_yticks(range(len(rules)), rules)
    left.set_ylim(len(rules) - 0.4, -0.8)
    left.set_xlabel(f"test {metric}{unit}; a dot is a seed")
    right.set_xlabel("seconds of training")
    for axis in (left, right):
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return save_figure(figure, path)


def draw_blocks(results: Results, path: str | Path) -> Path:
    """Draw, by block, the accuracy of a linear probe and the cosine between local gradients and
    those of backpropagation: a line for each rule, the mean over its seeds.

    Args:
        results: of `evenfall blocklocal compare`.
        path: the picture; it appears whole or not at all.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there are no results.
    """
    rules = _rules(results)
    figure = make_figure(8.0, 3.2)
    left, right = figure.subplots(1, 2)
    for row, rule in enumerate(rules):
        line = "-" if row < len(PALETTE) else "--"
        style = {"color": palette_colour(row), "marker": "o", "markersize": 4, "linestyle": line}
        style |= {"label": rule}
        for axis, name, factor in ((left, "probes", 100), (right, "alignment", 1)):
            runs = [one[name] for one in results if one["rule"] == rule and name in one]
            points = [
                (block, factor * value)
                for block, values in enumerate(zip(*runs, strict=True), 1)
                if not math.isnan(value := sum(_number(v) for v in values) / len(values))
            ]
            if points:
                axis.plot(*zip(*points, strict=True), **style)
    left.set_ylabel("accuracy of a linear probe, %")
    right.set_ylabel("cosine with backpropagation's gradient")
    names = ("probes", "alignment")
    blocks = max(len(one.get(name, ())) for one in results for name in names)
    for axis in (left, right):
        axis.set_xlabel("block")
        axis.set_xticks(range(1, blocks + 1))
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    if left.get_legend_handles_labels()[0]:
        left.legend(fontsize=8)
    return save_figure(figure, path)


def draw_numbers(table: dict[str, Any], path: str | Path) -> Path:
    """Draw the test result against the number of blocks: a line for each rule, the mean over its
    seeds, and a dot for each seed.

    Args:
        table: grid.json of `evenfall grid run` with the values `rule` and `blocks`.
        path: the picture; it appears whole or not at all.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the grid has other values, or no results of the test split.
    """
    points: dict[str, dict[int, list[float]]] = {}
    metric = "accuracy"
    for cell in table["cells"]:
        changes, figures = cell["changes"], cell["figures"].get("test", {})
        if not {"rule", "blocks"} <= set(changes) or not figures:
            raise ValueError(
                f"cell {shorten(cell['cell'])} must have a rule, a number of blocks and a result "
                "of the split test"
            )
        metric, figure = next(iter(figures.items()))
        points.setdefault(changes["rule"], {})[changes["blocks"]] = figure["values"]
    factor, unit = (100, ", %") if metric == "accuracy" else (1, "")
    figure = make_figure(6.0, 3.4)
    axis = figure.subplots()
    for row, (rule, found) in enumerate(points.items()):
        numbers = sorted(number for number, values in found.items() if values)
        style = {"color": palette_colour(row), "marker": "o", "markersize": 4}
        means = [factor * sum(found[n]) / len(found[n]) for n in numbers]
        axis.plot(numbers, means, label=rule, **style)
        for number in numbers:
            axis.scatter([number] * len(found[number]), [factor * v for v in found[number]], s=8,
                         color=palette_colour(row))  # fmt: skip
    axis.set_xscale("log", base=2)
    numbers = sorted({number for found in points.values() for number in found})
    axis.set_xticks(numbers, [str(number) for number in numbers])
    axis.minorticks_off()
    axis.set_xlabel("blocks")
    axis.set_ylabel(f"test {metric}{unit}")
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8)
    return save_figure(figure, path)


def _rules(results: Results) -> list[str]:
    rules = list(dict.fromkeys(one["rule"] for one in results))
    if not rules:
        raise ValueError("results must have at least one run, got none")
    return rules


def _number(value: float | None) -> float:
    return math.nan if value is None else value
