"""What the plugins' commands share: the group, errors as one line, progress bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from zipfile import BadZipFile

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def make_group(name: str, summary: str, *commands: Callable[..., None]) -> typer.Typer:
    """The Typer application of a plugin, with the settings that every `evenfall` group has."""
    app = typer.Typer(
        name=name,
        help=summary,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    # Typer makes an application with a single command that command; a callback keeps it a group.
    app.callback(help=summary)(lambda: None)
    for command in commands:
        app.command()(command)
    return app


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn what a user can mend into one line on stderr and exit code 1."""
    try:
        yield
    except BadZipFile as error:
        _fail(f"data: the archive cannot be read: {error}")
    except (ValueError, OSError) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    errors.print(f"Error: {' '.join(message.split())}", markup=False)
    raise typer.Exit(1) from None


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for one task; call what it gives with (done, in all)."""
    with progress_bars() as report:
        yield lambda done, total: report(name, done, total)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each name; call what it gives with (name, done, in all). Written to stderr."""
    tasks: dict[str, TaskID] = {}
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=errors, transient=True) as bars:

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield report
