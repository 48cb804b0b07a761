"""`evenfall egru classify`: train a classifier of frame sequences, then test it once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import console, training_output


def classify(
    recipe: Annotated[
        Path, typer.Argument(help="YAML file with all settings, or the name of a bundled recipe.")
    ],
    data: Annotated[Path, typer.Option(help="Folder of the data set.")],
    output: Annotated[Path, typer.Option(help="Folder of the run; the best model is in best/.")],
    seed: Annotated[int | None, typer.Option(min=0, help="Replaces the recipe's seed.")] = None,
    cell: Annotated[
        str | None, typer.Option(help="egru, gru or lstm; replaces the recipe's cell.")
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(min=0, help="Replaces the fold in the recipe's dataset_options."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run.")] = False,
    save_steps: Annotated[
        int | None, typer.Option(min=1, help="Save and validate after this many steps, too.")
    ] = None,
) -> None:
    """Train a classifier of sequences, such as sequential MNIST."""
    from ..training import load_classification_recipe, train_classifier

    with training_output() as report:
        settings = load_classification_recipe(recipe).with_choices(seed, cell, fold)
        best = train_classifier(
            settings, data, output, resume=resume, save_steps=save_steps, progress=report
        )
    if report is not None:
        console.print(f"best model: {best}", soft_wrap=True)
