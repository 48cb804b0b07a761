"""Train the same model by several rules and seeds, and compare them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evenfall.errors import shorten
from evenfall.files import write_json, write_text
from evenfall.hub import markdown_table
from evenfall.reading import read_json
from evenfall.runs import Progress

from .recipe import Recipe
from .run import RESULT, train


@dataclass(frozen=True)
class Comparison:
    """What `compare_rules` returns.

    Attributes:
        results: of each run, those of one rule together.
    """

    results: tuple[dict[str, Any], ...]

    @property
    def metric(self) -> str:
        """ "accuracy", or "perplexity" of text."""
        return metric_of(self.results[0])

    def rows(self) -> list[dict[str, Any]]:
        """A row for each rule: means over the seeds, and the spread of the test result."""
        rows = []
        metric = self.metric
        for rule in dict.fromkeys(result["rule"] for result in self.results):
            runs = [result for result in self.results if result["rule"] == rule]
            test = [run[f"test_{metric}"] for run in runs]
            rows.append(
                {
                    "rule": rule,
                    f"test_{metric}": statistics.mean(test),
                    "lowest": min(test),
                    "highest": max(test),
                    f"train_{metric}": statistics.mean(run[f"train_{metric}"] for run in runs),
                    "head_parameters": runs[0]["head_parameters"],
                    "seconds": statistics.mean(run["seconds"] for run in runs),
                    "seeds": len(runs),
                }
            )
        return rows

    def cells(self) -> list[tuple[str, ...]]:
        """The headings, then the rows as text."""
        metric = self.metric
        digits = 4 if metric == "accuracy" else 2
        headings = (
            "rule", f"test {metric}", "lowest - highest", f"training {metric}", "heads", "seconds",
            "seeds",
        )  # fmt: skip
        return [
            headings,
            *(
                (
                    row["rule"],
                    f"{row[f'test_{metric}']:.{digits}f}",
                    f"{row['lowest']:.{digits}f} - {row['highest']:.{digits}f}",
                    f"{row[f'train_{metric}']:.{digits}f}",
                    f"{row['head_parameters']:,}",
                    f"{row['seconds']:,.0f}",
                    str(row["seeds"]),
                )
                for row in self.rows()
            ),
        ]

    def table(self) -> str:
        """The rows as a Markdown table."""
        headings, *rows = self.cells()
        return markdown_table(headings, rows) + "\n"


def metric_of(result: dict[str, Any]) -> str:
    """What a run measured: "accuracy" or "perplexity"."""
    return "perplexity" if "test_perplexity" in result else "accuracy"


def compare_rules(
    recipe: Recipe,
    rules: Sequence[str],
    data: str | Path,
    output: str | Path,
    *,
    seeds: Sequence[int] = (0,),
    resume: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Train `recipe` by each rule and seed, and write results.json and table.md.

    A run is in the folder <rule>-<seed>. All rules of a seed run before the next seed begins.

    Raises:
        FileExistsError: a run exists and resume is off.
        ValueError: an unknown rule, a rule or a seed twice, or none; nothing is trained.
    """
    output = Path(output)
    for name, values in (("rules", [*rules]), ("seeds", [*seeds])):
        if not values or len({*values}) < len(values):
            raise ValueError(f"{name} must differ and be at least one, got {shorten(values)}")
    recipes = {(rule, seed): replace(recipe, rule=rule, seed=seed)
               for seed in seeds for rule in rules}  # fmt: skip
    results: dict[tuple[str, int], dict[str, Any]] = {}
    for seed in seeds:
        for rule in rules:
            one = recipes[rule, seed]
            best = train(
                one, data, output / f"{rule}-{seed}", resume=resume, progress=_named(progress, one)
            )
            results[rule, seed] = read_json(best / RESULT, "result")
            ordered = tuple(
                results[key] for key in sorted(results, key=lambda k: rules.index(k[0]))
            )
            comparison = Comparison(ordered)
            write_json(output / "results.json", ordered)
            write_text(output / "table.md", comparison.table())
    return comparison


def _named(progress: Progress | None, recipe: Recipe) -> Progress | None:
    if progress is None:
        return None
    return lambda task, done, total: progress(
        f"{recipe.rule}, seed {recipe.seed}, {task}", done, total
    )
