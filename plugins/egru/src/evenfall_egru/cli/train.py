"""`evenfall egru train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import console, training_output

from .common import quiet_loading


def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file with every choice of the run.")],
    data: Annotated[Path, typer.Option(help="Folder or zip with a train and a valid text.")],
    output: Annotated[Path, typer.Option(help="Folder of the run; the model ends up in best/.")],
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run.")] = False,
    save_steps: Annotated[
        int | None, typer.Option(min=1, help="Save and validate every so many steps.")
    ] = None,
) -> None:
    """Train a language model. On several ranks: `torchrun --no-python evenfall egru train ...`."""
    from ..training import load_recipe
    from ..training import train as run

    quiet_loading()
    with training_output() as report:
        choices = load_recipe(recipe)
        best = run(choices, data, output, resume=resume, save_steps=save_steps, progress=report)
    if report is not None:
        console.print(f"best model: {best}", soft_wrap=True)
