"""`evenfall spinnaker2 script`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors

from .options import Dt, Integrator, Model, Reset


def script(
    model: Model,
    output: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False)],
    dt: Dt = 1e-3,
    integrator: Integrator = "forward",
    reset: Reset = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing folder.")] = False,
) -> None:
    """Write a spiking network as a script for py-spinnaker2."""
    with clear_errors():
        from evenfall_spinnaker2.py_spinnaker2 import write_script

        folder = write_script(
            model, output, dt=dt, integrator=integrator, reset=reset, replace=replace
        )
        typer.echo(f"wrote {folder / 'network.py'}; it was not run with py-spinnaker2")
