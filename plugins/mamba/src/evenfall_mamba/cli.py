"""The command `evenfall mamba`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from evenfall.cli.output import write_json
from evenfall.cli.tools import clear_errors, make_group


def check(
    length: Annotated[int, typer.Option(min=2, help="Number of tokens in the timed input.")] = 256,
    repeats: Annotated[int, typer.Option(min=1, help="Runs per task; the median is shown.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of tables.")] = False,
) -> None:
    """Show versions, coverage and backends, and time a small model with and without the patch."""
    with clear_errors():
        import torch

        from .check import coverage, measure, package_versions

        device = "cuda" if torch.cuda.is_available() else "cpu"
        report = {
            "device": device,
            "installed": package_versions(),
            "patch": coverage(device),
            "speed": [row.as_dict() for row in measure(device, length, repeats)],
        }
    if as_json:
        write_json(report)
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


app = make_group("mamba", "Show what the Mamba patch covers and measure its speed-up.", check)
