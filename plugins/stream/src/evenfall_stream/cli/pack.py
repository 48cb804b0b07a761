"""`evenfall stream pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console, progress_bars

SPLITS = ("valid", "test")


def pack(
    runs: Annotated[list[Path], typer.Argument(help="Runs of one recipe, a seed each.")],
    data: Annotated[Path, typer.Option(help="Folder or file of the data set.")],
    output: Annotated[Path, typer.Option(help="Folder to be.")],
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="NAME=RUN of another model, to compare with; may be repeated."),
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="May be repeated; valid, then test, if absent.")
    ] = None,
    note: Annotated[str, typer.Option(help="A sentence for the card.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace the folder.")] = False,
) -> None:
    """Make the folder to publish. It has the run best on the first split, results and a card."""
    from ..publish.pack import pack as run

    with clear_errors(), progress_bars() as report:
        folder = run(
            runs, data, output, baselines=_by_name(baseline or []), splits=split or SPLITS,
            note=note, command=_command(runs, baseline or [], output), replace=replace,
            progress=report,
        )  # fmt: skip
    console.print(f"packed: {folder}", soft_wrap=True)


def _by_name(baselines: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in baselines:
        name, equals, run = text.partition("=")
        if not (name and equals and run):
            raise ValueError(f"baseline must be NAME=RUN, got {text!r}")
        found.setdefault(name, []).append(run)
    return found


def _command(runs: list[Path], baselines: list[str], output: Path) -> str:
    """The command with the last part of each path: where they lay is nobody's concern."""
    named = [run.parent.name if run.name == "best" else run.name for run in runs]
    others = []
    for text in baselines:
        name, _, run = text.partition("=")
        others.append(f"--baseline '{name}={Path(run).name}'")
    parts = [*named, *others, "--data DATA", f"--output {output.name}"]
    return " \\\n    ".join(["evenfall stream pack", *parts])
