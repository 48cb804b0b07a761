"""`evenfall egru convert`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console


class Carry(StrEnum):
    """What the converted model passes from one call to the next."""

    full = "full"
    output = "output"


def convert(
    file: Annotated[Path, typer.Argument(help="The state_dict saved by the EvNN library.")],
    corpus: Annotated[
        Path,
        typer.Option(help="Folder or zip archive with train, valid and test, for the vocabulary."),
    ],
    output: Annotated[Path, typer.Option(help="Folder to create.")],
    config: Annotated[
        Path | None, typer.Option(help="The run's config.yaml, to compare with the weights.")
    ] = None,
    carry: Annotated[
        Carry, typer.Option(help="full: y and h; output: only y, as in the EvNN library.")
    ] = Carry.full,
) -> None:
    """Convert a checkpoint of the EvNN library."""
    from ..publish.released import convert as run

    with clear_errors():
        folder = run(file, corpus, output, config=config, carry=carry.value)
    console.print(f"converted: {folder}", soft_wrap=True)
