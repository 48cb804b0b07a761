"""`evenfall stream predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evenfall.cli.output import write_json
from evenfall.cli.tools import clear_errors, console, errors

from .common import predict_each, refuse_options, show_predictions
from .segment_files import segment_files

if TYPE_CHECKING:
    from ..inference import FilePrediction


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
    unit_sphere: Annotated[
        bool | None,
        typer.Option(
            "--unit-sphere/--no-unit-sphere",
            help="Centre and scale clouds to the unit sphere, or not; needed if the model learned "
            "from your own class of data set. [default: as the recipe's data set]",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to show.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")] = False,
    table: Annotated[
        Path | None, typer.Option("--csv", help="CSV file to write, a row for each window.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Folder for a picture of each recording: its class over time; of a segmenter, of "
            "each cloud: its points coloured by class."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Segmenters: folder for a CSV file of each file, a row for each point."),
    ] = None,
) -> None:
    """Classify point clouds, event recordings or sounds, or with a segmenter each point of clouds;
    go on after a file that is refused."""
    from dataclasses import replace

    from ..inference import FilePredictor, FileSegmenter, checkpoint_settings
    from ..inference.table import as_object, write_table
    from ..models.classifier import StreamClassifier
    from ..models.loading import load_trained
    from ..models.segmentation import StreamSegmenter

    with clear_errors():
        if pictures is not None:
            from evenfall.pictures import make_figure

            make_figure(1, 1)  # fails now if matplotlib is missing, not after the predictions
        model = load_trained(checkpoint)
        classes = model.class_names or [str(index) for index in range(model.num_classes)]
        if isinstance(model, StreamSegmenter):
            refuse_options("a segmenter", {"--window": window, "--hop": hop, "--csv": table})
            settings = checkpoint_settings(checkpoint, unit_sphere)
            settings = settings if points is None else replace(settings, points=points)
            whole = segment_files(
                FileSegmenter(model, settings), _files(inputs), classes, top, as_json=as_json,
                output=output, pictures=pictures,
            )  # fmt: skip
            raise typer.Exit(0 if whole else 1)
        refuse_options("a classifier", {"--output": output})
        if isinstance(model, StreamClassifier):
            refuse_options(
                "a classifier of clouds",
                {"--window": window, "--hop": hop, "--pictures": pictures},
            )
        else:
            refuse_options(
                "a classifier of recordings", {"--points": points, "--unit-sphere": unit_sphere}
            )
        changes: dict[str, Any] = {"points": points, "window": window, "hop": hop}
        if window is not None:
            changes["hop"] = hop if hop is not None else window
        changes = {name: value for name, value in changes.items() if value is not None}
        settings = checkpoint_settings(checkpoint, unit_sphere)
        predictor = FilePredictor(model, replace(settings, **changes))
        found, rows = predict_each(predictor.predict, _files(inputs))
        for path, one in found.items():
            if one.note:
                errors.print(f"Note: {path}: {one.note}")
        if as_json:
            listed = [
                as_object(found[path], classes) if error is None else
                {"input": str(path), "error": error}
                for path, error in rows
            ]  # fmt: skip
            write_json(listed)
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


def _files(inputs: list[Path]) -> list[Path]:
    """The inputs without repetition, with the files that can be read in place of folders.

    Raises:
        ValueError: a folder has no such files.
    """
    from ..datasets.folders.walking import files_below
    from ..datasets.readers.inputs import CLOUDS
    from ..datasets.readers.recording_files import SUFFIXES

    files: dict[Path, None] = {}
    for path in inputs:
        if not path.is_dir():
            files[path] = None
            continue
        inside = [
            one for one in files_below(path) if one.suffix.lower() in (*CLOUDS, *SUFFIXES)
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
