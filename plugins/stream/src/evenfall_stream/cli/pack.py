"""`evenfall stream pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console, progress_bars

SPLITS = ("valid", "test")


def pack(
    runs: Annotated[list[Path], typer.Argument(help="Runs of one recipe, one per seed.")],
    data: Annotated[Path, typer.Option(help="Folder or file of the data set.")],
    output: Annotated[Path, typer.Option(help="Folder to create.")],
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="NAME=RUN of another model to compare with; may be repeated."),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Split to evaluate; may be repeated. [default: valid, test]"),
    ] = None,
    note: Annotated[str, typer.Option(help="A sentence for the card.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace the folder.")] = False,
) -> None:
    """Make a folder to publish: the best run on the first split, results and a card."""
    from evenfall.hub.compared import pack_command, read_baselines

    from ..publish.pack import pack as run

    with clear_errors(), progress_bars() as report:
        others = read_baselines(baseline or [])
        command = pack_command("evenfall stream pack", runs, others, f"--output {output.name}")
        folder = run(
            runs, data, output, baselines=others, splits=split or SPLITS, note=note,
            command=command, replace=replace, progress=report,
        )  # fmt: skip
    console.print(f"packed: {folder}", soft_wrap=True)
