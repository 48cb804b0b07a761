"""`evenfall stream predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evenfall.cli.tools import clear_errors, console, errors
from evenfall.errors import EvenfallError

from .common import show_predictions

if TYPE_CHECKING:
    from ..inference import FilePrediction, FilePredictor


def predict(
    checkpoint: Annotated[str, typer.Argument(help="Folder, or model on the Hugging Face Hub.")],
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Clouds, meshes, event recordings or .wav files, or folders of them."),
    ],
    points: Annotated[
        int | None,
        typer.Option(min=1, help="Points to sample from a mesh. [default: the recipe's, or 1024]"),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(help="Classify windows of so many milliseconds. [default: the recipe's]"),
    ] = None,
    hop: Annotated[
        float | None, typer.Option(help="Milliseconds from window to window. [default: --window]")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to show.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")] = False,
    table: Annotated[
        Path | None, typer.Option("--csv", help="CSV file to write, a row for each window.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for a picture of the class over time of each file.")
    ] = None,
) -> None:
    """Classify point clouds, event recordings or sounds; go on after a file that is refused."""
    from dataclasses import replace

    from ..inference import FilePredictor, checkpoint_settings
    from ..inference.table import as_object, write_table
    from ..models.loading import load_checkpoint

    with clear_errors():
        if pictures is not None:
            from evenfall.pictures import make_figure

            make_figure(1, 1)  # fails now if matplotlib is missing, not after the predictions
        model = load_checkpoint(checkpoint)
        classes = model.class_names or [str(index) for index in range(model.num_classes)]
        changes: dict[str, Any] = {"points": points, "window": window, "hop": hop}
        if window is not None:
            changes["hop"] = hop if hop is not None else window
        changes = {name: value for name, value in changes.items() if value is not None}
        predictor = FilePredictor(model, replace(checkpoint_settings(checkpoint), **changes))
        found, rows = _predict_all(predictor, inputs)
        if as_json:
            listed = [
                as_object(found[path], classes) if error is None else
                {"input": str(path), "error": error}
                for path, error in rows
            ]  # fmt: skip
            typer.echo(json.dumps(listed, indent=2))
        elif found:
            names = [path.name for path in found]
            if len(set(names)) < len(names):
                names = [str(path) for path in found]
            probabilities = [one.probabilities for one in found.values()]
            show_predictions(names, probabilities, classes, min(top, len(classes)))
        if table is not None:
            write_table(found.values(), classes, table)
        if pictures is not None:
            _draw(list(found.values()), classes, pictures, quiet=as_json)
    if len(found) < len(rows):
        raise typer.Exit(1)


def _predict_all(
    predictor: FilePredictor, inputs: list[Path]
) -> tuple[dict[Path, FilePrediction], list[tuple[Path, str | None]]]:
    """The predictions by file, and each file with its error; both are also told on stderr."""
    found: dict[Path, FilePrediction] = {}
    rows: list[tuple[Path, str | None]] = []
    for path in _files(inputs):
        try:
            found[path] = predictor.predict(path)
        except (ValueError, OSError, ImportError, MemoryError, EvenfallError) as error:
            message = " ".join(str(error).split()) or type(error).__name__
            rows.append((path, message))
            errors.print(f"Error: {message}")
            continue
        rows.append((path, None))
        if found[path].note:
            errors.print(f"Note: {path}: {found[path].note}")
    return found, rows


def _files(inputs: list[Path]) -> list[Path]:
    """The inputs without repetition, with the files that can be read in place of folders.

    Raises:
        ValueError: a folder has no such files.
    """
    from ..datasets.readers.inputs import CLOUDS
    from ..datasets.readers.recording_files import SUFFIXES

    files: dict[Path, None] = {}
    for path in inputs:
        if not path.is_dir():
            files[path] = None
            continue
        inside = [
            one for one in sorted(path.rglob("*"))
            if one.is_file() and one.suffix.lower() in (*CLOUDS, *SUFFIXES)
        ]  # fmt: skip
        if not inside:
            raise ValueError(f"{path} has no files of clouds, recordings or sounds")
        files.update(dict.fromkeys(inside))
    return list(files)


def _draw(
    predictions: list[FilePrediction], classes: list[str], folder: Path, *, quiet: bool
) -> None:
    from ..pictures.over_time import draw_over_time

    for number, one in enumerate(predictions):
        name = f"{number:03d}-{one.path.stem}.png" if len(predictions) > 1 else "over-time.png"
        file = draw_over_time(one, classes, folder / name)
        if not quiet:
            console.print(f"picture: {file}", soft_wrap=True)
