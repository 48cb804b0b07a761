"""What the plugins' commands share: the group, one-line errors, tables, progress bars, logs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, NoReturn
from zipfile import BadZipFile

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table

from evenfall.cli.group import GROUP_SETTINGS
from evenfall.cli.quiet import quiet_hosts
from evenfall.errors import EvenfallError, shorten_text
from evenfall.files import is_failed_write
from evenfall.runs import Progress, is_first_rank

# Paths and names can contain brackets, which are not markup.
console = Console(highlight=False, markup=False)
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def make_group(name: str, summary: str, *commands: Callable[..., None]) -> typer.Typer:
    """The Typer application of a plugin, with the settings of every `evenfall` group. The hosts are
    quiet while one of its commands runs."""
    app = typer.Typer(name=name, help=summary, **GROUP_SETTINGS)
    app.callback(help=summary)(quiet_hosts)
    for command in commands:
        app.command()(command)
    return app


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn errors that a user can mend into one line on stderr and exit code 1: wrong values or
    files, a full disk, too little memory, a missing extra, a loss that is not finite, and every
    EvenfallError."""
    try:
        yield
    except BadZipFile as error:
        _fail(f"data: the archive cannot be read: {error}")
    except MemoryError as error:
        _fail(f"there is not enough memory: {error}")
    except (ValueError, OSError, ImportError, FloatingPointError, EvenfallError) as error:
        _fail(str(error))
    except Exception as error:
        safetensors = sys.modules.get("safetensors")  # its error is not a ValueError
        if is_failed_write(error):
            _fail(f"the output cannot be written: {error}")
        elif safetensors is not None and isinstance(error, safetensors.SafetensorError):
            _fail(str(error))
        elif any(words in str(error) for words in _NO_MEMORY):
            _fail(f"there is not enough memory: {error}")
        raise


_NO_MEMORY = ("can't allocate memory", "out of memory", "Storage size calculation overflowed")
"""Words in PyTorch's errors of too little memory."""


def _fail(message: str) -> NoReturn:
    with suppress(OSError):  # a full disk may hold stderr, too
        errors.print(f"Error: {shorten_text(' '.join(message.split()), _MOST_CHARACTERS)}")
    raise typer.Exit(1) from None


_MOST_CHARACTERS = 2000
"""Of an error's line; PyTorch lists every weight that does not fit."""


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for one task; yields a function to call with (steps done, total steps)."""
    with progress_bars() as report:
        yield lambda done, total: report(name, done, total)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A bar for each task, on stderr; yields a function to call with (name of the task, steps done,
    total steps). A new bar removes the full ones."""
    tasks: dict[str, TaskID] = {}
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=errors, transient=True) as bars:

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                full = {task.id for task in bars.tasks if task.finished}
                for other in [key for key, task in tasks.items() if task in full]:
                    bars.remove_task(tasks.pop(other))
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield report


@contextmanager
def training_output(advice: str = "use --resume to continue") -> Iterator[Progress | None]:
    """Output of a command that trains: bars and log lines of the first rank, one-line errors, and
    how to continue an interrupted run. Yields the progress function; None on other ranks."""
    first = is_first_rank()
    logging.basicConfig(
        level=logging.INFO if first else logging.WARNING,
        format="%(message)s",
        handlers=[_AboveBars()],
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with clear_errors(), progress_bars() if first else nullcontext() as report:
        try:
            yield report
        except KeyboardInterrupt:
            errors.print(f"interrupted; {advice}")
            raise typer.Exit(130) from None


class _AboveBars(logging.Handler):
    """Writes messages to stderr, above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        errors.print(self.format(record))


def show_facts(title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Print a table of names and values."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def show_rows(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table with a heading for each column."""
    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)
