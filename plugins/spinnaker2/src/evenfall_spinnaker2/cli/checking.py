"""`evenfall spinnaker2 check`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from evenfall.cli.output import write_json
from evenfall.cli.tools import clear_errors
from evenfall_spinnaker2.reports.text import columns

from .options import (
    Board,
    Calibration,
    Decoder,
    Dt,
    Integrator,
    Mode,
    Model,
    Pes,
    Precision,
    Profile,
    QueueDepth,
    Reset,
    load_examples,
)


def check(
    model: Model,
    mode: Mode = None,
    precision: Precision = "auto",
    profile: Profile = "default",
    board: Board = "1",
    pes: Pes = None,
    decoder: Decoder = "host",
    queue_depth: QueueDepth = None,
    dt: Dt = 1e-3,
    integrator: Integrator = "forward",
    reset: Reset = None,
    calibration: Calibration = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Say what a model becomes on the chip, and what would make it fit. Nothing is written.

    The exit code is 1 if it does not fit.
    """
    with clear_errors():
        from evenfall_spinnaker2.checking import check as run

        result = run(
            model, mode=mode, precision=precision, profile=profile, board=board, pes=pes,
            decoder=decoder, queue_depth=queue_depth, dt=dt, integrator=integrator, reset=reset,
            calibration=load_examples(calibration),
        )  # fmt: skip
    if as_json:
        write_json(result.as_dict())
    else:
        _show(result)
    if not result.fits:
        raise typer.Exit(1)


def fits(
    layers: Annotated[int, typer.Option(min=1, max=100, help="Layers of the EGRU.")] = 3,
    mode: Mode = None,
    board: Board = "1",
    pes: Pes = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List the largest EGRU that fits, for each precision and density of its weights."""
    with clear_errors():
        from evenfall_spinnaker2.checking import largest_egru
        from evenfall_spinnaker2.settings import Settings

        rows = largest_egru(layers, settings=Settings(mode=mode, board=board, pes=pes))
    if as_json:
        write_json(rows)
        return
    cells = [
        (row["weights"], f"{row['density']:.0%}", f"{row['units']:,}", f"{row['parameters']:,}")
        for row in rows
    ]
    typer.echo(columns(("weights", "not zero", "units a layer", "parameters"), cells))


def _show(result: Any) -> None:
    cells = [
        (
            one.name, one.kind, f"{one.units:,}", f"{one.weights:,}",
            f"{one.nonzeros / max(one.weights, 1):.1%}", one.form, f"{one.bytes / 1000:,.0f}",
            str(one.pes), f"{one.largest / 1000:.1f}", str(one.queue),
        )
        for one in result.layers
    ]  # fmt: skip
    typer.echo(columns(
        (
            "layer", "becomes", "units", "weights", "not zero", "stored as", "kB", "PEs",
            "fullest, kB", "queue",
        ),
        cells,
    ))  # fmt: skip
    typer.echo(f"memory of a PE: {result.capacity / 1000:.1f} kB for data")
    typer.echo(f"host or DRAM: {result.host_bytes / 1e6:.1f} MB")
    if result.fits:
        typer.echo(
            f"{result.model} fits: {result.pes} of {result.available} PEs, {result.chips} chip(s), "
            f"at most {result.router_entries} router entries, at most "
            f"{result.packets_per_tick:,.0f} packets a tick on a link between chips"
        )
    else:
        typer.echo(f"{result.model} does not fit: {result.problem}")
        for change in result.would_fit:
            typer.echo(f"  would fit with {change}")
    typer.echo(result.verification)
