"""The runs that a card compares: seeds of the published model, and of other models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from evenfall.errors import shorten

from .cards import markdown_table

OWN = "this model"
"""The label of the published model's runs."""


@dataclass
class ComparedRun:
    """A run to evaluate.

    Attributes:
        label: of its model: OWN, or the name of a baseline.
        folder: its best/ folder.
        model: a torch.nn.Module.
        recipe: a dataclass with `seed` and `dataset_options`.
        evaluations: split -> a score such as `accuracy`, the number of `examples`, and more.
    """

    label: str
    folder: Path
    model: Any
    recipe: Any
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def settings(self) -> dict[str, Any]:
        """The recipe without seed and fold."""
        options = {name: v for name, v in self.recipe.dataset_options.items() if name != "fold"}
        return {**asdict(self.recipe), "seed": None, "dataset_options": options}


def best_folder(run: str | Path) -> Path:
    """A run's best/ folder, given that or the folder of the run."""
    folder = Path(run)
    return folder / "best" if (folder / "best").is_dir() else folder


def check_alike(runs: Sequence[ComparedRun]) -> None:
    """Check that the runs of each label differ only in seed and fold.

    Raises:
        ValueError: they differ in more.
    """
    first: dict[str, dict[str, Any]] = {}
    for run in runs:
        reference = first.setdefault(run.label, run.settings)
        unlike = [name for name, value in run.settings.items() if value != reference[name]]
        if unlike:
            raise ValueError(
                f"runs of {run.label} must differ only in seed and fold; the recipe of "
                f"{run.folder} differs in {unlike}"
            )


def differences(runs: Sequence[ComparedRun], own: ComparedRun) -> dict[str, dict[str, Any]]:
    """How the recipe of each other model differs from that of the published one."""
    return {
        run.label: {n: v for n, v in run.settings.items() if v != own.settings[n]}
        for run in runs
        if run.label != OWN
    }


def summarise(runs: Sequence[ComparedRun], metric: str = "accuracy") -> list[dict[str, Any]]:
    """Mean and sample standard deviation of a score over the runs of each model, a row for each
    split."""
    rows = []
    for label in dict.fromkeys(run.label for run in runs):
        group = [run for run in runs if run.label == label]
        for split, evaluation in group[0].evaluations.items():
            scores = [run.evaluations[split][metric] for run in group]
            rows.append({
                "model": label,
                "split": split,
                "runs": len(group),
                "seeds": [run.recipe.seed for run in group],
                "examples": evaluation["examples"],
                metric: mean(scores),
                "deviation": stdev(scores) if len(scores) > 1 else None,
                "parameters": group[0].parameters,
            })  # fmt: skip
    return rows


def score_text(row: Mapping[str, Any], metric: str = "accuracy") -> str:
    """The score of a row of `summarise` in per cent, with its deviation if there is one."""
    deviation = "" if row["deviation"] is None else f" ± {100 * row['deviation']:.2f}"
    return f"{100 * row[metric]:.2f}{deviation} %"


def class_table(evaluation: Mapping[str, Any], counted: str = "examples") -> str:
    """The table of a card: each class with its number of examples, accuracy and, if there is one,
    IoU; the last row has the totals."""
    iou = evaluation.get("class_iou")
    classes = zip(evaluation["class_accuracy"].items(), evaluation["confusion"], strict=True)
    rows = [
        [name, f"{sum(row):,}", _percent(value), *([_percent(iou[name])] if iou else [])]
        for (name, value), row in classes
    ]
    total = ["all", f"{evaluation['examples']:,}", f"{100 * evaluation['accuracy']:.2f} %"]
    headings = ["class", f"{counted}:", "accuracy:"]
    if iou:
        total.append(f"{100 * evaluation['mean_iou']:.2f} %")
        headings.append("IoU:")
    return markdown_table(headings, [*rows, total])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def published_accuracy(results: Mapping[str, Any], split: str) -> float:
    """The accuracy of the published run on a split.

    Raises:
        StopIteration: the results have none.
    """
    rows = (row for row in results["evaluations"] if row["published"] and row["split"] == split)
    return float(next(rows)["accuracy"])


def read_baselines(texts: Sequence[str]) -> dict[str, list[str]]:
    """Name -> runs, of the options NAME=RUN of a command.

    Raises:
        ValueError: a text has another form, or the name of the published model's runs.
    """
    runs: dict[str, list[str]] = {}
    for text in texts:
        name, equals, run = text.partition("=")
        if not (name and equals and run):
            raise ValueError(f"baseline must be NAME=RUN, got {shorten(text)}")
        if name == OWN:
            raise ValueError(f"baseline must have another name than {OWN!r}, got {shorten(text)}")
        runs.setdefault(name, []).append(run)
    return runs


def pack_command(
    command: str,
    runs: Sequence[str | Path],
    baselines: Mapping[str, Sequence[str | Path]],
    *options: str,
) -> str:
    """The command for the card, with names of folders instead of paths."""
    named = [(name, run) for name, group in baselines.items() for run in group]
    others = [f"--baseline '{name}={_name(run)}'" for name, run in named]
    return " \\\n    ".join([command, *map(_name, runs), *others, "--data DATA", *options])


def _name(run: str | Path) -> str:
    path = Path(run)
    return path.parent.name if path.name == "best" else path.name
