"""What the commands share: errors as one line, and the tables of results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.table import Table

from eventide.cli import tools
from eventide.cli.tools import console


@contextmanager
def clear_errors() -> Iterator[None]:
    """As eventide.cli.tools; also for a missing extra and a loss that is no longer finite."""
    with tools.clear_errors():
        try:
            yield
        except (ImportError, FloatingPointError) as error:
            raise ValueError(str(error)) from error


def show_evaluation(result: dict[str, Any], title: str, points: str) -> None:
    """A table of one evaluation, and one of its classes; `points` says what they are."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_row("accuracy", f"{100 * result['accuracy']:.2f} %  of {result['examples']:,}")
    table.add_row("mean accuracy of classes", f"{100 * result['mean_class_accuracy']:.2f} %")
    table.add_row("loss", f"{result['loss']:.4f} nats")
    table.add_row("examples per second", f"{result['examples_per_second']:,.1f}")
    table.add_row(f"{points} per second", f"{result['points_per_second']:,.0f}")
    console.print(table)
    classes = Table("class", "accuracy", "examples", box=None, pad_edge=False)
    for (name, value), row in zip(
        result["class_accuracy"].items(), result["confusion"], strict=True
    ):
        classes.add_row(name, "" if value is None else f"{100 * value:.1f} %", f"{sum(row):,}")
    console.print(classes)


def show_predictions(names: list[str], chances: list[list[float]], classes: list[str], top: int
) -> None:  # fmt: skip
    """A table with the likeliest classes of each input."""
    table = Table("input", *(f"{rank}." for rank in range(1, top + 1)), box=None, pad_edge=False)
    for name, row in zip(names, chances, strict=True):
        best = sorted(range(len(row)), key=lambda index: -row[index])[:top]
        table.add_row(name, *(f"{classes[index]} {100 * row[index]:.1f} %" for index in best))
    console.print(table)
