"""`evenfall blocklocal train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evenfall.cli.tools import console, training_output


def train(
    recipe: Annotated[
        str, typer.Argument(help="YAML file with the settings, or the name of a bundled recipe.")
    ],
    data: Annotated[Path, typer.Option(help="Folder of the data sets.")],
    output: Annotated[Path, typer.Option(help="Folder of the run; best/ is the model.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the output folder.")
    ] = False,
    rule: Annotated[str | None, typer.Option(help="Rule. [default: the recipe's]")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Random seed. [default: the recipe's]")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of epochs. [default: the recipe's]")
    ] = None,
) -> None:
    """Train a model by a rule and evaluate it after the last epoch."""
    from dataclasses import replace

    from evenfall.reading import read_json

    from ..training import load_recipe
    from ..training import train as run
    from ..training.compare import metric_of
    from ..training.run import RESULT

    options = {"rule": rule, "seed": seed, "epochs": epochs}
    changes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    with training_output() as report:
        choices = replace(load_recipe(recipe), **changes)
        best = run(choices, data, output, resume=resume, progress=report)
        result = read_json(best / RESULT, "result")
        metric = metric_of(result)
    console.print(
        f"{result['rule']}: test {metric} {result[f'test_{metric}']:.4f}, model {best}",
        soft_wrap=True,
    )
