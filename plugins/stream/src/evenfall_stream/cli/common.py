"""What the commands share: errors as one line, and the tables of results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.table import Table

from evenfall.cli import tools
from evenfall.cli.tools import console


@contextmanager
def clear_errors() -> Iterator[None]:
    """As evenfall.cli.tools; also for a missing extra, a loss that is not finite, a full disk."""
    from safetensors import SafetensorError

    with tools.clear_errors():
        try:
            yield
        except (ImportError, FloatingPointError, SafetensorError) as error:
            raise ValueError(str(error)) from error


def first_rank() -> bool:
    """Whether this process speaks: the only one, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


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
