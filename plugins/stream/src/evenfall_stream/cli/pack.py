"""`evenfall stream pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console, progress_bars
from evenfall.errors import shorten

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
    from ..publish.pack import pack as run

    with clear_errors(), progress_bars() as report:
        folder = run(
            runs, data, output, baselines=_by_name(baseline or []), splits=split or SPLITS,
            note=note, command=_command(runs, baseline or [], output), replace=replace,
            progress=report,
        )  # fmt: skip
    console.print(f"packed: {folder}", soft_wrap=True)


def _by_name(baselines: list[str]) -> dict[str, list[str]]:
    runs: dict[str, list[str]] = {}
    for text in baselines:
        name, equals, run = text.partition("=")
        if not (name and equals and run):
            raise ValueError(f"baseline must be NAME=RUN, got {shorten(text)}")
        runs.setdefault(name, []).append(run)
    return runs


def _command(runs: list[Path], baselines: list[str], output: Path) -> str:
    """The command for the card, with folder names instead of paths."""
    names = [run.parent.name if run.name == "best" else run.name for run in runs]
    others = []
    for text in baselines:
        name, _, run = text.partition("=")
        others.append(f"--baseline '{name}={Path(run).name}'")
    parts = [*names, *others, "--data DATA", f"--output {output.name}"]
    return " \\\n    ".join(["evenfall stream pack", *parts])
