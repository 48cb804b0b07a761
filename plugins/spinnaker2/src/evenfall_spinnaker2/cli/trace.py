"""`evenfall spinnaker2 trace`: the gap between an image and its model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from evenfall.checks import check_choice
from evenfall.cli.output import write_json
from evenfall.cli.tools import clear_errors, show_rows

from .options import Reset
from .predict import read_inputs


def trace(
    image: Annotated[Path, typer.Argument(help="The folder of an image.", show_default=False)],
    model: Annotated[Path, typer.Argument(help="What it was compiled from.", show_default=False)],
    prompt: Annotated[
        str | None, typer.Option(help="A text, for a language model.", show_default=False)
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(help="A .npy file of inputs: steps, then the shape.", show_default=False),
    ] = None,
    reset: Reset = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Also: what rounding each layer to int8 or bf16 costs."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Compare the image with the model in float64: gap of each layer, and events that differ."""
    with clear_errors():
        from evenfall_spinnaker2.emulator.emulator import Emulator
        from evenfall_spinnaker2.emulator.text import TextEmulator
        from evenfall_spinnaker2.image import load_image
        from evenfall_spinnaker2.tracing import trace as run

        if (prompt is None) == (inputs is None):
            raise ValueError("give either --prompt or --inputs")
        if precision is not None:
            check_choice("precision", precision, ("int8", "bf16"))
        loaded = load_image(image)
        steps: Any
        if prompt is not None:
            steps = TextEmulator(Emulator(loaded)).encode(prompt)
        else:
            assert inputs is not None
            steps = read_inputs(inputs)
        options: dict[str, Any] = {"reset": reset}
        found = run(loaded, model, steps, **options)
        result = found.as_dict()
        if precision is not None:
            result["losses"] = _losses(loaded, model, steps, precision, reset)
    if as_json:
        write_json(result)
        return
    _show(found)
    for row in result.get("losses", []):
        typer.echo(
            f"{row['name']} in {precision}: outputs move by {row['gap']:.3g} of their spread, "
            f"{row['changed']:.1%} of the choices change"
        )


def _losses(
    image: Any, model: Path, steps: Any, precision: str, reset: Any
) -> list[dict[str, Any]]:
    from evenfall_spinnaker2.emulator.emulator import Emulator
    from evenfall_spinnaker2.tracing import losses, network_of

    network = network_of(image, model, reset)
    values = Emulator(image).host.encode(steps, quantise=False)
    return [asdict(one) for one in losses(network, values, precision)]


def _show(found: Any) -> None:
    rows = [
        (
            one.name, f"{one.units:,}", f"{one.events:,}", str(one.flipped),
            "-" if one.first_flip is None else str(one.first_flip),
            f"{one.gap.max(initial=0):.2g}", str(one.near),
        )
        for one in found.layers
    ]  # fmt: skip
    heads = ("layer", "units", "events", "differ", "first at", "gap", "near threshold")
    show_rows(heads, rows)
    for one in found.layers:
        for flip in one.flips:
            word = "fired" if flip.fired else "was silent"
            typer.echo(
                f"{one.name}, step {flip.step}: unit {flip.unit} {word}; the model's value is "
                f"{abs(flip.margin):.2g} {'above' if flip.margin > 0 else 'below'} the threshold"
            )
    for name, gap in found.outputs.items():
        typer.echo(f"{name}: largest difference {gap.max(initial=0):.2g}")
    count = sum(len(gap) for gap in found.outputs.values())
    typer.echo(f"the largest output is the same at {found.same_choice} of {count} steps")
