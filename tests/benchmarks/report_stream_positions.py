"""STREAM and PointMamba's step without position embedding."""

from __future__ import annotations

from statistics import mean, stdev
from typing import Any

from page_tables import Record, Rows, key, table

PLACE = 57
FIGURES = ("accuracy", "mean_class_accuracy", "loss")


def section(record: Record) -> str:
    """The block of the page."""
    columns = {
        "Model": key("model"),
        "Runs": key("runs"),
        "Held-out clouds": key("examples"),
        "Accuracy": lambda row: spread(row["accuracy"]),
        "Mean over classes": lambda row: spread(row["mean_class_accuracy"]),
        "Loss, nats": lambda row: f"{mean(row['loss']):.3f} ± {stdev(row['loss']):.3f}",
    }
    return (
        "## STREAM without position embedding\n\nThe recipes of `stream-modelnet10-small` and of "
        "its PointMamba baseline, except that no perceptron tells a token where it lies: what it "
        "knows of its place is the order along each axis, and in STREAM the distances.\n\n"
        + table(columns, summaries(record["rows"]))
        + "\n\n"
        + compared(record["rows"])
    )


def summaries(rows: Rows) -> Rows:
    """A row for each model, whose figures are lists over its runs."""
    found = []
    for model in dict.fromkeys(row["model"] for row in rows):
        runs = [row for row in rows if row["model"] == model]
        figures: dict[str, Any] = {name: [run[name] for run in runs] for name in FIGURES}
        examples = sum(run["examples"] for run in runs)
        found.append({"model": model, "runs": len(runs), "examples": examples, **figures})
    return found


def spread(shares: list[float]) -> str:
    """Mean and sample standard deviation, in percent."""
    return f"{100 * mean(shares):.2f} ± {100 * stdev(shares):.2f} %"


def compared(rows: Rows) -> str:
    """The difference of the two models, run by run on the same clouds."""
    first, second = summaries(rows)
    gaps = [a - b for a, b in zip(first["accuracy"], second["accuracy"], strict=True)]
    points = ", ".join(f"{100 * gap:+.2f}" for gap in gaps)
    return (
        f"{first['model']} less {second['model']}, fold by fold: {points} points, "
        f"{100 * mean(gaps):+.2f} ± {100 * stdev(gaps):.2f} in the mean."
    )
