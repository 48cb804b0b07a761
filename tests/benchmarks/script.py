"""What every benchmark does on the command line: read its options, show its rows, save them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from record import Rows, save
from rich.console import Console
from rich.table import Table


def parser(about: str | None, rounds: int | None = None, quick: bool = False) -> Any:
    """An argparse parser with --no-save and, where asked for, --rounds and --quick.

    Args:
        about: the module's docstring; its first line is shown.
        rounds: how many rounds --rounds gives by default; None leaves the option out.
        quick: whether there is --quick.
    """
    found = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    found.add_argument("--no-save", action="store_true", help="do not write docs/benchmarks")
    if rounds is not None:
        found.add_argument("--rounds", type=int, default=rounds, help="rounds of each timing")
    if quick:
        found.add_argument("--quick", action="store_true", help="tiny sizes; saves nothing")
    return found


def finish(
    subject: str,
    rows: Rows,
    options: argparse.Namespace,
    notes: str,
    command: str | None = None,
    shown: bool = True,
) -> None:
    """Show a table for each part, then save unless --no-save or --quick was given.

    Args:
        subject: the name of the script and of the record.
        rows: what was measured; "part" says which rows belong together.
        options: of the command line.
        notes: what a reader must know to judge the numbers.
        command: what to run to measure again, where it is more than the script without options.
        shown: False only saves, as a script does that has more rows to measure.
    """
    for part in dict.fromkeys(row.get("part") for row in rows) if shown else ():
        show(": ".join(filter(None, [subject, part])), [r for r in rows if r.get("part") == part])
    if not (options.no_save or getattr(options, "quick", False)):
        save(subject, rows, command or command_of(subject), notes)


def command_of(subject: str) -> str:
    return f"python tests/benchmarks/{subject}.py"


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Show `rows`, one column a key, floats to four digits."""
    shown = Table(title=title)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(_cell(row.get(column, "")) for column in columns))
    Console().print(shown)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
