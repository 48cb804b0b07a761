"""`evenfall egru pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console, progress_bars


def pack(
    checkpoint: Annotated[Path, typer.Argument(help="A run's best/ folder.")],
    data: Annotated[Path, typer.Option(help="Folder or zip archive with valid and test.")],
    output: Annotated[Path, typer.Option(help="Folder to create.")],
    dtype: Annotated[str, typer.Option(help="Data type of the weights.")] = "bfloat16",
    picture: Annotated[Path | None, typer.Option(help="Also save the raster here.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing folder.")] = False,
) -> None:
    """Make the folder to publish, with weights, results, card and picture. `evenfall checkpoints
    publish` adds the code."""
    from ..publish.pack import pack as run

    with clear_errors(), progress_bars() as report:
        folder = run(
            checkpoint, data, output, dtype=dtype, picture=picture, replace=replace, progress=report
        )
    console.print(f"packed: {folder}", soft_wrap=True)
