"""`evenfall sparsity study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evenfall.cli.tools import console, training_output


def study(
    file: Annotated[Path, typer.Argument(help="YAML file, or the name of a bundled study.")],
    data: Annotated[Path, typer.Option(help="Folder or file of the data set.")],
    output: Annotated[Path, typer.Option(help="Folder of the study; each run has a folder in it.")],
    timing: Annotated[
        bool, typer.Option("--time", help="Time the trained models instead; needs a quiet machine.")
    ] = False,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of a round of --time.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of --time.")] = 5,
) -> None:
    """Train dense and pruned models, count and compare them. Run it again to continue."""
    from evenfall.pictures import require_pictures
    from evenfall.runs import is_first_rank

    from ..study import draw_curves, find_study, run_study, study_text, time_study, write_report

    def show(table: dict[str, Any]) -> None:
        write_report(table, output)
        draw_curves(table, output)

    with training_output("run the command again to continue") as report:
        require_pictures()
        source = find_study(file)
        if timing:
            show(
                table := time_study(
                    source, data, output, tokens=tokens, rounds=rounds, progress=report
                )
            )
        elif not data.exists():
            raise FileNotFoundError(f"data {data} not found")
        else:
            table = run_study(source, data, output, progress=report, report=show)
    if is_first_rank():
        console.print(study_text(table), soft_wrap=True)
    if any("failure" in row for row in table["runs"]):
        raise typer.Exit(1)
