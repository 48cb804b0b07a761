"""`evenfall egru train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console


def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file with every choice of the run.")],
    data: Annotated[Path, typer.Option(help="Folder or zip with a train and a valid text.")],
    output: Annotated[Path, typer.Option(help="Folder of the run; the model ends up in best/.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint.")
    ] = False,
    save_steps: Annotated[
        int | None, typer.Option(min=1, help="Save and validate every so many steps.")
    ] = None,
) -> None:
    """Train a language model. On several ranks: `torchrun --no-python evenfall egru train ...`."""
    import logging
    import os

    from ..training import load_recipe
    from ..training import train as run

    first = os.environ.get("RANK", "0") == "0"
    logging.basicConfig(level=logging.INFO if first else logging.WARNING, format="%(message)s")
    with clear_errors():
        best = run(load_recipe(recipe), data, output, resume=resume, save_steps=save_steps)
    if first:
        console.print(f"best model: {best}", soft_wrap=True)
