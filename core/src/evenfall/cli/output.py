"""Output of the built-in commands: JSON for programs, tables for people."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evenfall.cli.streams import output_to_errors
from evenfall.entries import Registry
from evenfall.files import without_nan
from evenfall.printing import printable
from evenfall.registry import ALL

if TYPE_CHECKING:
    from evenfall.backends import Kernel
    from evenfall.findings import Finding
    from evenfall.manager import PluginStatus

_SHORT = {"float64": "fp64", "float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
_COLOUR = {"ok": "green", "blocked": "yellow", "warning": "yellow", "broken": "red"}


def write_json(rows: object) -> None:
    """Write `rows` as indented JSON on standard output; NaN and infinity, which JSON lacks, become
    null."""
    typer.echo(json.dumps(without_nan(rows), indent=2, allow_nan=False))


def show_plugins(rows: Sequence[PluginStatus]) -> None:
    """Print a table of plugins and, below it, the reasons of broken and blocked ones."""
    if not rows:
        _say("No plugin is installed. From a checkout: pip install ./core ./kernels ./plugins/egru")
        return
    cells = [
        (
            *(_safe(text) for text in (row.name, row.distribution, row.version)),
            _coloured(row.status),
            _provided(row.provides),
        )
        for row in rows
    ]
    _table(("plugin", "distribution", "version", "status", "provides"), cells)
    for row in rows:
        if row.message:
            _say(f"[bold]{_safe(row.name)}[/] {_coloured(row.status)}: {_safe(row.message)}")


def list_entries(entries: Registry[Any], as_json: bool) -> None:
    """One registry, as JSON or as a table."""
    if as_json:
        with output_to_errors():
            rows = [entry.as_dict() for entry in entries.entries()]
        write_json(rows)
    else:
        show_entries(entries)


def show_entries(
    entries: Registry[Any], places: Mapping[str, str | None] = MappingProxyType({})
) -> None:
    """Print a table of one registry, with a column of `places` by name if there are any."""
    rows = entries.entries()
    if not rows:
        _say(f"No {entries.kind} is registered. `evenfall plugins` shows which plugins work.")
        return
    cells = [
        (
            _safe(row.name),
            _safe(row.metadata.get("host") or ""),
            _safe(row.metadata.get("summary") or ""),
            _safe(row.owner.name),
            *([_safe(places[row.name] or "not here")] if places else []),
        )
        for row in rows
    ]
    where = ["where"] if places else []
    _table((entries.kind, "host", "summary", "plugin", *where), cells)


def show_kernels(kernels: Sequence[Kernel]) -> None:
    """Print a table of kernels, grouped by operation."""
    if not kernels:
        _say("No kernel is registered. From a checkout: pip install ./core ./kernels")
        return
    cells = [
        (
            kernel.operation,
            kernel.backend,
            " ".join(kernel.devices),
            " ".join(_SHORT.get(dtype, dtype) for dtype in kernel.dtypes),
            "slow" if kernel.slow else str(kernel.priority),
            kernel.owner,
        )
        for kernel in kernels
    ]
    headings = ("operation", "backend", "devices", "dtypes", "priority", "plugin")
    _table(headings, [tuple(_safe(cell) for cell in row) for row in cells])


def show_findings(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Print one line for each finding, with its advice below, and yield it."""
    for finding in findings:
        indent = " " * (9 - len(finding.level))
        mark = _coloured(finding.level) + indent
        _say(f"{mark}[bold]{_safe(finding.subject)}[/]: {_safe(finding.detail)}")
        if finding.advice:
            _say(f"{' ' * 9}{_safe(finding.advice)}")
        yield finding


def _provided(provides: Any) -> str:
    return ", ".join(
        f"{len(names)} {ALL[kind].kind if len(names) == 1 else kind}"
        for kind, names in provides.items()
    )


def _coloured(status: str) -> str:
    return f"[{_COLOUR[status]}]{status}[/]"


def _table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 1000  # one line for each row, for programs such as grep
    console.print(table)


def _safe(text: str) -> str:
    """Text of a plugin, without markup and control characters."""
    return escape(printable(text))


def _say(text: str) -> None:
    Console(soft_wrap=True, highlight=False).print(text)
