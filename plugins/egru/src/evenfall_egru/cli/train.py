"""`evenfall egru train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import console, training_output


def train(
    recipe: Annotated[
        Path, typer.Argument(help="YAML file with all settings, or the name of a bundled recipe.")
    ],
    data: Annotated[Path, typer.Option(help="Folder or zip archive with train and valid.")],
    output: Annotated[Path, typer.Option(help="Folder of the run; the best model is in best/.")],
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run.")] = False,
    save_steps: Annotated[
        int | None, typer.Option(min=1, help="Save and validate after this many steps, too.")
    ] = None,
) -> None:
    """Train a language model. Several ranks: `torchrun --no-python evenfall egru train ...`."""
    from ..training import load_recipe
    from ..training import train as run

    with training_output() as report:
        settings = load_recipe(recipe)
        best = run(settings, data, output, resume=resume, save_steps=save_steps, progress=report)
    if report is not None:
        console.print(f"best model: {best}", soft_wrap=True)
