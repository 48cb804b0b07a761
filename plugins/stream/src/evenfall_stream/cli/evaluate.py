"""`evenfall stream evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.output import write_json
from evenfall.cli.tools import clear_errors, console, progress_bar
from evenfall.runs import is_first_rank

from .common import show_evaluation


def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="Folder, or model on the Hugging Face Hub.")],
    data: Annotated[Path, typer.Option(help="Folder or file of the data set.")],
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "test",
    recipe: Annotated[
        str | None,
        typer.Option(help="Recipe that names the data set. [default: the checkpoint's]"),
    ] = None,
    votes: Annotated[
        int | None,
        typer.Option(min=1, help="Augmented copies to average. [default: the recipe's]"),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples per call.")] = 32,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read examples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of tables.")] = False,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for confusion.png, classes.png, influence.png.")
    ] = None,
) -> None:
    """Evaluate a model on one split: accuracy, confusion matrix and speed; segmenters: mIoU."""
    from dataclasses import replace

    from ..models.loading import load_trained
    from ..training import checkpoint_recipe, load_recipe
    from ..training.evaluation import evaluate_recipe

    with clear_errors():
        if pictures is not None:
            from evenfall.pictures import require_pictures

            from ..pictures import draw_evaluation

            require_pictures()
        model = load_trained(checkpoint)
        choices = load_recipe(recipe) if recipe else checkpoint_recipe(checkpoint)
        if votes is not None:
            choices = replace(choices, votes=votes)
        with progress_bar("evaluating") as report:
            result = evaluate_recipe(
                model, choices, data, split, batch_size=batch_size, num_workers=workers,
                progress=report,
            )  # fmt: skip
        if not is_first_rank():
            return
        result = {"checkpoint": checkpoint, "dataset": choices.dataset, "split": split, **result}
        if as_json:
            write_json(result)
        else:
            points = "events" if choices.task == "events" else "points"
            show_evaluation(result, f"{checkpoint} on {choices.dataset}, {split}", points)
        if pictures is not None:
            files = draw_evaluation(result, model, choices, data, split, pictures)
            if not as_json:
                names = ", ".join(file.name for file in files)
                console.print(f"pictures in {pictures}: {names}", soft_wrap=True)
