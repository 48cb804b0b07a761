"""The command `evenfall mamba`. What it needs is imported when it runs."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(
    name="mamba",
    help="The Mamba patch: what it covers and what it gains.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _group() -> None:
    """The Mamba patch: what it covers and what it gains."""


@app.command()
def check(
    length: Annotated[int, typer.Option(min=2, help="Tokens of the timed text.")] = 256,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of which the median counts.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of tables.")] = False,
) -> None:
    """What is installed and patched, and the gain. Times a small model before and after."""
    import torch
    from transformers.utils import logging as host

    from .check import coverage, installed, measure

    host.set_verbosity_error()  # it warns of its slow path, which is what we time
    device = "cuda" if torch.cuda.is_available() else "cpu"
    report = {
        "device": device,
        "installed": installed(),
        "patch": coverage(device),
        "speed": [row.as_dict() for row in measure(device, length, repeats)],
    }
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        _show(report)


def _show(report: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    patch = report["patch"]
    for name, version in report["installed"].items():
        console.print(f"{name:14} {version or 'not installed'}")
    console.print(f"patch          {', '.join(patch['families'])}")
    console.print(f"applies to     {', '.join(patch['targets'])}")
    tested = f"transformers{patch['transformers']}, mamba_ssm{patch['mamba_ssm']}"
    console.print(f"tested with    {tested}")
    absent = ", ".join(patch["absent_extensions"]) or "none"
    console.print(f"not compiled   {absent}")
    backends = ", ".join(f"{name}: {backend}" for name, backend in patch["backends"].items())
    console.print(f"on {report['device']:11} {backends}\n")
    table = Table("2 layers of 256", "before, ms", "after, ms", "gain", box=None, pad_edge=False)
    for row in report["speed"]:
        runs = row["before"] is not None
        before = f"{row['before']:.1f}" if runs else "does not run"
        gain = f"{row['gain']:.1f}x" if runs else ""
        table.add_row(row["task"], before, f"{row['after']:.1f}", gain)
    console.print(table)
