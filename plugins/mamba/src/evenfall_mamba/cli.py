"""The command `evenfall mamba`. It imports frameworks only when it runs."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(
    name="mamba",
    help="Show what the Mamba patch covers and measure its speed-up.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _group() -> None:
    """Show what the Mamba patch covers and measure its speed-up."""


@app.command()
def check(
    length: Annotated[int, typer.Option(min=2, help="Number of tokens in the timed input.")] = 256,
    repeats: Annotated[int, typer.Option(min=1, help="Runs per task; the median is shown.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of tables.")] = False,
) -> None:
    """Show versions, coverage and backends, and time a small model with and without the patch."""
    import torch
    from transformers.utils import logging as host

    from .check import coverage, measure, package_versions

    host.set_verbosity_error()  # silences the warning about its slow path, which is timed here
    device = "cuda" if torch.cuda.is_available() else "cpu"
    report = {
        "device": device,
        "installed": package_versions(),
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
        console.print(f"{name:15} {version or 'not installed'}")
    console.print(f"models          {', '.join(patch['families'])}")
    console.print(f"applies to      {', '.join(patch['targets'])}")
    tested = f"transformers{patch['transformers']}, mamba_ssm{patch['mamba_ssm']}"
    console.print(f"tested with     {tested}")
    absent = ", ".join(patch["absent_extensions"])
    console.print(f"extensions      {f'not installed: {absent}' if absent else 'installed'}")
    backends = ", ".join(f"{name}: {backend}" for name, backend in patch["backends"].items())
    console.print(f"{'backends, ' + report['device']:15} {backends}\n")
    columns = ("2 layers of 256", "before, ms", "after, ms", "speed-up")
    table = Table(*columns, box=None, pad_edge=False)
    for row in report["speed"]:
        works = row["before"] is not None
        before = f"{row['before']:.1f}" if works else "fails"
        gain = f"{row['gain']:.1f}x" if works else ""
        table.add_row(row["task"], before, f"{row['after']:.1f}", gain)
    console.print(table)
