"""What the commands share: the check of an extra, and tables of results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from evenfall.cli.tools import clear_errors, errors, show_facts, show_rows
from evenfall.errors import EvenfallError

from ..extras import require

Found = TypeVar("Found")


def needs(extra: str, command: Callable[..., None]) -> Callable[..., None]:
    """The command, with a one-line error if the extra is not installed."""

    @wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        with clear_errors():
            require(extra, f"evenfall stream {command.__name__}")
        command(*args, **kwargs)

    return wrapper


def show_evaluation(result: dict[str, Any], title: str, points: str) -> None:
    """Print a table of an evaluation and one of its classes; `points` is the unit of its speed."""
    rows = [
        ("examples", f"{result['examples']:,}"),
        ("accuracy", f"{100 * result['accuracy']:.2f} %"),
        ("mean class accuracy", f"{100 * result['mean_class_accuracy']:.2f} %"),
        ("loss", f"{result['loss']:.4f} nats"),
        ("examples per second", f"{result['examples_per_second']:,.1f}"),
        (f"{points} per second", f"{result['points_per_second']:,.0f}"),
    ]
    for name, text in (("mean_iou", "mIoU"), ("object_mean_iou", "mIoU of the objects")):
        if name in result:
            rows.insert(1, (text, f"{100 * result[name]:.2f} %"))
    show_facts(title, rows)
    classes = zip(result["class_accuracy"].items(), result["confusion"], strict=True)
    by_class = result.get("class_iou")
    show_rows(
        ("class", "accuracy", *(["IoU"] if by_class else []), points if by_class else "examples"),
        [
            (name, _percent(value), *([_percent(by_class[name])] if by_class else []),
             f"{sum(row):,}")
            for (name, value), row in classes
        ],
    )  # fmt: skip


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def refuse_options(model: str, options: Mapping[str, object]) -> None:
    """Refuse the options of a command that mean nothing for this kind of model.

    Raises:
        ValueError: one of them is set.
    """
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"{name} is not an option for {model}")


def predict_each(
    predict: Callable[[Path], Found], paths: Iterable[Path]
) -> tuple[dict[Path, Found], list[tuple[Path, str | None]]]:
    """The prediction of each file, and each file with its error or None; errors go to stderr."""
    found: dict[Path, Found] = {}
    rows: list[tuple[Path, str | None]] = []
    for path in paths:
        try:
            found[path] = predict(path)
        except (ValueError, OSError, ImportError, MemoryError, EvenfallError) as error:
            message = " ".join(str(error).split()) or type(error).__name__
            rows.append((path, message))
            errors.print(f"Error: {message}")
            continue
        rows.append((path, None))
    return found, rows


def show_predictions(
    names: list[str], probabilities: list[list[float]], classes: list[str], top: int
) -> None:
    """Print a table of the most probable classes of each input."""
    rows = []
    for name, row in zip(names, probabilities, strict=True):
        best = sorted(range(len(row)), key=lambda index: -row[index])[:top]
        rows.append((name, *(f"{classes[index]} {100 * row[index]:.1f} %" for index in best)))
    show_rows(("input", *(f"{rank}." for rank in range(1, top + 1))), rows)
