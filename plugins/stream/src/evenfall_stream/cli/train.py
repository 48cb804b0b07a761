"""`evenfall stream train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evenfall.cli.tools import console, training_output


def train(
    recipe: Annotated[
        str, typer.Argument(help="YAML file with the settings, or the name of a bundled recipe.")
    ],
    data: Annotated[Path, typer.Option(help="Folder or file of the data set.")],
    output: Annotated[Path, typer.Option(help="Folder of the run; best/ is the model.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the output folder.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Random seed. [default: the recipe's]")
    ] = None,
    fold: Annotated[
        int | None, typer.Option(min=0, help="Validation fold. [default: the recipe's]")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of epochs. [default: the recipe's]")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read examples.")] = 0,
) -> None:
    """Train a classifier. On several ranks: `torchrun --no-python evenfall stream train ...`."""
    from dataclasses import replace

    from ..training import load_recipe
    from ..training import train as run

    options = {"seed": seed, "epochs": epochs}
    changes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    with training_output() as report:
        choices = replace(load_recipe(recipe), **changes)
        if fold is not None:
            choices = replace(choices, dataset_options={**choices.dataset_options, "fold": fold})
        best = run(choices, data, output, resume=resume, num_workers=workers, progress=report)
    if report is not None:
        console.print(f"best model: {best}", soft_wrap=True)
