"""`evenfall egru pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console, progress_bars

from .common import quiet_loading


def pack(
    checkpoint: Annotated[Path, typer.Argument(help="A run's best/ folder.")],
    data: Annotated[Path, typer.Option(help="Folder or zip with valid and test.")],
    output: Annotated[Path, typer.Option(help="Folder to be.")],
    dtype: Annotated[str, typer.Option(help="Of the stored weights.")] = "bfloat16",
    picture: Annotated[Path | None, typer.Option(help="Put the raster here too.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the folder.")] = False,
) -> None:
    """Make the folder to publish. It holds weights, results, card and picture; `evenfall
    checkpoints publish` adds the code."""
    from ..publish.pack import pack as run

    quiet_loading()
    with clear_errors(), progress_bars() as report:
        folder = run(
            checkpoint, data, output, dtype=dtype, picture=picture, replace=replace, progress=report
        )
    console.print(f"packed: {folder}", soft_wrap=True)
