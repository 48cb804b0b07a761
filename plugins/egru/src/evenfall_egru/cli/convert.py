"""`evenfall egru convert`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console

from .common import quiet_loading


class Carry(StrEnum):
    """What the converted model hands from one call to the next."""

    full = "full"
    output = "output"


def convert(
    file: Annotated[Path, typer.Argument(help="The state_dict that the EvNN library saved.")],
    corpus: Annotated[
        Path, typer.Option(help="Folder or zip with train, valid and test: the vocabulary.")
    ],
    output: Annotated[Path, typer.Option(help="Folder to be.")],
    config: Annotated[Path | None, typer.Option(help="The run's config.yaml, to check.")] = None,
    carry: Annotated[
        Carry, typer.Option(help="full: y and h; output: y alone, as the EvNN library does.")
    ] = Carry.full,
) -> None:
    """Convert a checkpoint of the EvNN library."""
    from ..publish.released import convert as run

    quiet_loading()
    with clear_errors():
        folder = run(file, corpus, output, config=config, carry=carry.value)
    console.print(f"converted: {folder}", soft_wrap=True)
