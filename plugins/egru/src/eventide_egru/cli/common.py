"""What the commands share: errors as one line, progress bars, tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from zipfile import BadZipFile

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


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


def quiet_loading() -> None:
    """No bars and no advice from transformers while a checkpoint loads."""
    from transformers.utils import logging as host

    host.set_verbosity_error()
    host.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for one task; call what it gives with (done, in all)."""
    with progress_bars() as report:
        yield lambda done, total: report(name, done, total)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each name; call what it gives with (name, done, in all). Written to stderr."""
    tasks: dict[str, Any] = {}
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=errors, transient=True) as bars:

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield report


def show_evaluation(result: dict[str, Any], sizes: list[int], title: str) -> None:
    """A table of one evaluation."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    protocol = f"window {result['window']}, carry {result['carry']}"
    table.add_row("perplexity", f"{result['perplexity']:.2f}  ({protocol})")
    table.add_row("tokens predicted", f"{result['tokens']:,}")
    for index, (units, rate) in enumerate(zip(sizes, result["activity"], strict=True), 1):
        table.add_row(f"activity, layer {index}", f"{100 * rate:.1f} % of {units} units")
    macs = result["macs"]
    table.add_row("MACs per token, dense", f"{macs['dense'] / 1e6:.3f} million")
    effective = f"{macs['effective'] / 1e6:.3f} million  ({macs['ratio']:.1f} times fewer)"
    table.add_row("MACs per token, effective", effective)
    table.add_row("tokens per second", f"{result['tokens_per_second']:,.0f}")
    console.print(table)
