"""`evenfall blocklocal compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evenfall.cli.tools import console, show_rows, training_output


def compare(
    recipe: Annotated[
        str, typer.Argument(help="YAML file with the settings, or the name of a bundled recipe.")
    ],
    data: Annotated[Path, typer.Option(help="Folder of the data sets.")],
    output: Annotated[Path, typer.Option(help="Folder of the runs, the table and the pictures.")],
    rules: Annotated[
        str, typer.Option(help="Rules, separated by commas.")
    ] = "bll,local-ce,frozen,backprop",
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 0 on.")] = 3,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of epochs. [default: the recipe's]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the runs there.")] = False,
) -> None:
    """Train one model by several rules; write the table and the pictures."""
    from dataclasses import replace

    from evenfall.pictures import require_pictures

    from ..pictures import draw_blocks, draw_comparison
    from ..training import compare_rules, load_recipe

    changes: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
    with training_output() as report:
        require_pictures()
        choices = replace(load_recipe(recipe), **changes)
        comparison = compare_rules(
            choices, [rule.strip() for rule in rules.split(",")], data, output,
            seeds=range(seeds), resume=resume, progress=report,
        )  # fmt: skip
        pictures = [
            draw_comparison(comparison.results, output / "accuracy.png"),
            draw_blocks(comparison.results, output / "blocks.png"),
        ]
    headings, *rows = comparison.cells()
    show_rows(headings, rows)
    for path in (output / "table.md", *pictures):
        console.print(str(path), soft_wrap=True)
