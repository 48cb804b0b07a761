"""Train the same model by several rules and seeds, and compare them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evenfall.files import write_text
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

    def rows(self) -> list[dict[str, Any]]:
        """A row for each rule: means over the seeds, and the spread of the test accuracy."""
        rows = []
        for rule in dict.fromkeys(result["rule"] for result in self.results):
            runs = [result for result in self.results if result["rule"] == rule]
            test = [run["test_accuracy"] for run in runs]
            rows.append(
                {
                    "rule": rule,
                    "test_accuracy": statistics.mean(test),
                    "lowest": min(test),
                    "highest": max(test),
                    "train_accuracy": statistics.mean(run["train_accuracy"] for run in runs),
                    "head_parameters": runs[0]["head_parameters"],
                    "seconds": statistics.mean(run["seconds"] for run in runs),
                    "seeds": len(runs),
                }
            )
        return rows

    def table(self) -> str:
        """The rows as a Markdown table."""
        lines = [
            "| rule | test accuracy | lowest - highest | training accuracy | heads | seconds | "
            "seeds |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        lines += [
            f"| {row['rule']} | {row['test_accuracy']:.4f} | {row['lowest']:.4f} - "
            f"{row['highest']:.4f} | {row['train_accuracy']:.4f} | {row['head_parameters']:,} | "
            f"{row['seconds']:,.0f} | {row['seeds']} |"
            for row in self.rows()
        ]
        return "\n".join(lines) + "\n"


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
        ValueError: an unknown rule.
    """
    output = Path(output)
    results: dict[tuple[str, int], dict[str, Any]] = {}
    for seed in seeds:
        for rule in rules:
            one = replace(recipe, rule=rule, seed=seed)
            best = train(
                one, data, output / f"{rule}-{seed}", resume=resume, progress=_named(progress, one)
            )
            results[rule, seed] = json.loads((best / RESULT).read_text("utf-8"))
            ordered = tuple(
                results[key] for key in sorted(results, key=lambda k: rules.index(k[0]))
            )
            comparison = Comparison(ordered)
            write_text(output / "results.json", json.dumps(list(ordered), indent=2) + "\n")
            write_text(output / "table.md", comparison.table())
    return comparison


def _named(progress: Progress | None, recipe: Recipe) -> Progress | None:
    if progress is None:
        return None
    return lambda task, done, total: progress(
        f"{recipe.rule}, seed {recipe.seed}, {task}", done, total
    )
