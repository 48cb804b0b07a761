"""`evenfall egru pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console, progress_bars


def pack(
    runs: Annotated[
        list[Path],
        typer.Argument(help="A run, or its best/ folder; of a classifier also several seeds."),
    ],
    data: Annotated[Path, typer.Option(help="Folder or file of the data, with valid and test.")],
    output: Annotated[Path, typer.Option(help="Folder to create.")],
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=RUN of another classifier to compare with, such as a GRU; may be repeated."
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(help="Data type of the weights.")] = "bfloat16",
    note: Annotated[str, typer.Option(help="A sentence for the card of a classifier.")] = "",
    picture: Annotated[Path | None, typer.Option(help="Also save the raster here.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing folder.")] = False,
) -> None:
    """Make the folder to publish, with weights, results, card and pictures. `evenfall checkpoints
    publish` adds the code."""
    from evenfall.checkpoints import architectures
    from evenfall.hub.compared import best_folder, read_baselines

    with clear_errors(), progress_bars() as report:
        first = best_folder(runs[0])
        if not (first / "config.json").is_file():
            raise FileNotFoundError(
                f"{runs[0]} has no best/ with a config.json: it must be a finished run of an EGRU"
            )
        if "EgruForSequenceClassification" in architectures(first):
            from ..publish.classifier_pack import pack_classifier

            folder = pack_classifier(
                runs, data, output, baselines=read_baselines(baseline or []), dtype=dtype,
                note=note, picture=picture, replace=replace, progress=report,
            )  # fmt: skip
        else:
            from ..publish.pack import pack as pack_language_model

            if len(runs) > 1 or baseline or note:
                raise ValueError(
                    f"several runs, --baseline and --note are for classifiers, got {first}"
                )
            folder = pack_language_model(
                first, data, output, dtype=dtype, picture=picture, replace=replace, progress=report
            )
    console.print(f"packed: {folder}", soft_wrap=True)
