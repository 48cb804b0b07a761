"""`evenfall spinnaker2 compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, show_facts

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


def compile(
    model: Model,
    output: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False)],
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
    record: Annotated[int, typer.Option(help="Steps whose events are recorded.")] = 0,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing folder.")] = False,
) -> None:
    """Write an image for the chip: partition, place, route, memory map."""
    with clear_errors():
        from evenfall_spinnaker2.compiling import compile as run
        from evenfall_spinnaker2.image.folder import read_manifest

        folder = run(
            model, output, mode=mode, precision=precision, profile=profile, board=board, pes=pes,
            decoder=decoder, queue_depth=queue_depth, dt=dt, integrator=integrator, reset=reset,
            calibration=load_examples(calibration), recorded_steps=record, replace=replace,
        )  # fmt: skip
        manifest = read_manifest(folder)
        for one in manifest["populations"]:
            if "scaling" in one:
                facts = ", ".join(f"{key} {value:g}" for key, value in one["scaling"].items())
                typer.echo(f"{one['name']}: {facts}")
        blobs = [row["memory"][1]["bytes"] for row in manifest["pes"]]
        show_facts(
            str(folder),
            [
                ("processing elements", f"{len(blobs)}"),
                ("chips", f"{len({tuple(row['chip']) for row in manifest['pes']})}"),
                ("largest blob, bytes", f"{max(blobs):,}"),
                ("all blobs, bytes", f"{sum(blobs):,}"),
                (
                    "entries of the fullest router",
                    f"{max(r['entries'] for r in manifest['routing'])}",
                ),
            ],
        )
        typer.echo(manifest["verification"])
