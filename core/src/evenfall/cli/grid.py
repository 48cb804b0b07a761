"""`evenfall grid`: many runs from one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall import registry
from evenfall.cli.group import GROUP_SETTINGS
from evenfall.trainers import Trainer

app = typer.Typer(name="grid", help="Grids of training runs.", **GROUP_SETTINGS)


@app.callback()
def grid() -> None:
    """Grids of training runs: recipes that differ in some values, each with several seeds."""


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="YAML file: recipe, values or cells, seeds.")],
    data: Annotated[Path, typer.Option(help="Folder or file of the data set.")],
    output: Annotated[Path, typer.Option(help="Folder of the grid; each run has a folder in it.")],
    trainer: Annotated[
        str, typer.Option(help="Name of the trainer; `evenfall trainers` lists them.")
    ],
) -> None:
    """Train and evaluate every run and show means over seeds. Run it again to continue."""
    from evenfall.cli.tools import console, training_output
    from evenfall.runs import grid_table, is_first_rank, run_grid

    found = registry.trainers.get_as(trainer, Trainer)
    with training_output("run the command again to continue") as report:
        table = run_grid(file, data, output, found, progress=report)
    if is_first_rank():
        console.print(grid_table(table), soft_wrap=True)
    if any(cell["failures"] for cell in table["cells"]):
        raise typer.Exit(1)
