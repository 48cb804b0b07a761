"""`evenfall spinnaker2 report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evenfall.cli.tools import clear_errors
from evenfall.corpora import decode

from .predict import read_inputs


def report(
    image: Annotated[Path, typer.Argument(help="The folder of an image.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--html", help="Also write this page.", show_default=False)
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(help="Run on the words of this file (language models).", show_default=False),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(help="Run on the steps of this .npy file.", show_default=False),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps to run at most. [default: 400]")
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="Whose routing tree the page shows.", show_default=False),
    ] = None,
) -> None:
    """Explain an image: limits, balance, estimates; with an input also queues and events."""
    with clear_errors():
        from evenfall_spinnaker2.emulator.text import encode, read_tokenizer
        from evenfall_spinnaker2.image import load_image
        from evenfall_spinnaker2.reporting import report as run

        if text is not None and inputs is not None:
            raise ValueError("give --text or --inputs, not both")
        if steps is not None and text is None and inputs is None:
            raise ValueError("--steps needs --text or --inputs")
        if layer is not None and output is None:
            raise ValueError("--layer needs --html")
        most = 400 if steps is None else steps
        loaded = load_image(image)
        given: Any = None
        if text is not None:
            if loaded.tokenizer is None:
                raise ValueError(f"text: image {image} has no tokenizer; use --inputs")
            words = decode(text.read_bytes(), f"text {text}")
            given = encode(read_tokenizer(loaded), words, f"text {text}")[:most]
        elif inputs is not None:
            given = read_inputs(inputs)[:most]
        typer.echo(run(loaded, output, inputs=given, layer=layer), nl=False)
        if output is not None:
            typer.echo(f"wrote {output}")
