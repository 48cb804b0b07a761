"""`evenfall blocklocal picture`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console


def picture(
    grid: Annotated[
        Path, typer.Argument(help="Folder of a grid with the values `rule` and `blocks`.")
    ],
    output: Annotated[
        Path | None, typer.Option(help="The picture. [default: blocks.png in the folder]")
    ] = None,
) -> None:
    """Draw accuracy against the number of blocks, from what `evenfall grid run` wrote."""
    from evenfall.reading import read_json, reading

    from ..pictures import draw_numbers

    with clear_errors():
        file = grid / "grid.json"
        table = read_json(file, "grid")
        with reading(file, "grid"):
            path = draw_numbers(table, output or grid / "blocks.png")
    console.print(str(path), soft_wrap=True)
