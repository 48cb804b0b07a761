"""Predictions as CSV and as values for JSON."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from evenfall.files import file_aside

from .files import FilePrediction, Part


def write_table(
    predictions: Iterable[FilePrediction], classes: Sequence[str], path: str | Path
) -> Path:
    """Write a CSV file with a row for each part: input, start_ms, end_ms, events or points, class,
    and a column for the probability of each class. Windows without events have no class.

    Raises:
        OSError: the file cannot be written.
    """
    predictions = list(predictions)
    unit = predictions[0].unit if predictions else "events"
    with file_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["input", "start_ms", "end_ms", unit, "class", *classes])
        for one in predictions:
            for part in one.parts:
                times = ["" if time is None else f"{time:.15g}" for time in (part.start, part.end)]
                row = part.probabilities
                values = [""] * (1 + len(classes)) if row is None else [
                    classes[best(row)], *(f"{value:.6f}" for value in row)
                ]  # fmt: skip
                writer.writerow([str(one.path), *times, part.size, *values])
    return Path(path)


def as_object(one: FilePrediction, classes: Sequence[str]) -> dict[str, Any]:
    """The prediction as an object of JSON; windows are listed if there are several."""
    found = {
        "input": str(one.path),
        one.unit: one.size,
        "class": classes[best(one.probabilities)],
        "probabilities": dict(zip(classes, one.probabilities, strict=True)),
    }
    if one.note:
        found["note"] = one.note
    if len(one.parts) > 1:
        found["windows"] = [_window(part, one.unit, classes) for part in one.parts]
    return found


def best(probabilities: Sequence[float]) -> int:
    """The number of the most probable class."""
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def _window(part: Part, unit: str, classes: Sequence[str]) -> dict[str, Any]:
    row = part.probabilities
    return {
        "start_ms": part.start,
        "end_ms": part.end,
        unit: part.size,
        "class": None if row is None else classes[best(row)],
        "probabilities": None if row is None else dict(zip(classes, row, strict=True)),
    }
