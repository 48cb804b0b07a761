"""`evenfall spinnaker2 predict`: run an image in the emulator."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from evenfall.checks import check_choice
from evenfall.cli.output import write_json
from evenfall.cli.tools import clear_errors, show_facts
from evenfall.reading import read_array


def predict(
    image: Annotated[Path, typer.Argument(help="The folder of an image.", show_default=False)],
    prompt: Annotated[
        str | None, typer.Option(help="Start of a text, for a language model.", show_default=False)
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(help="A .npy file of inputs: steps, then the shape.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the outputs as .npz.", show_default=False)
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens to add to the prompt. [default: 20]")
    ] = None,
    past_end: Annotated[
        bool, typer.Option("--past-end", help="Continue past the model's end tokens.")
    ] = False,
    order: Annotated[
        str, typer.Option(help="ascending keys; random: compare random orders of arrival.")
    ] = "ascending",
    orders: Annotated[
        int | None, typer.Option(min=1, help="Number of random orders. [default: 100]")
    ] = None,
    allow_overflow: Annotated[
        bool, typer.Option("--allow-overflow", help="Count events that full queues lose.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Compute what the chip would compute, from the image alone. It needs no torch."""
    with clear_errors():
        import numpy as np

        from evenfall_spinnaker2.emulator.emulator import ORDERS, Emulator

        check_choice("order", order, ORDERS)
        if (prompt is None) == (inputs is None):
            raise ValueError("give either --prompt or --inputs")
        for option, is_given, other, is_there in (
            ("--output", output is not None, "--inputs", inputs is not None),
            ("--max-new-tokens", max_new_tokens is not None, "--prompt", prompt is not None),
            ("--past-end", past_end, "--prompt", prompt is not None),
            ("--orders", orders is not None, "--order random", order == "random"),
        ):
            if is_given and not is_there:
                raise ValueError(f"{option} needs {other}")
        emulator = Emulator(image, allow_overflow=allow_overflow)
        if prompt is not None:
            result, steps = _text(emulator, prompt, max_new_tokens or 20, past_end, as_json)
        else:
            assert inputs is not None
            steps = read_inputs(inputs)
            if not np.size(steps):
                raise ValueError(f"inputs {inputs}: got no steps, want at least one")
            result = _values(emulator, steps, output, as_json)
        if order == "random":
            result["random orders"] = _orders(emulator, steps, orders or 100, as_json)
        lost = int(emulator.lost.sum())
        if lost:
            result["lost"] = lost
            typer.echo(f"full queues lost {lost} events", err=True)
        if as_json:
            write_json(result)


def _text(
    emulator: Any, prompt: str, max_new_tokens: int, past_end: bool, as_json: bool
) -> tuple[dict[str, Any], Any]:
    """Print the continuation word by word; returns the figures and all tokens but the last."""
    import numpy as np

    from evenfall_spinnaker2.emulator.text import TextEmulator

    show = None if as_json else lambda piece: typer.echo(piece, nl=False)
    found = TextEmulator(emulator).continue_text(
        prompt, max_new_tokens, past_end=past_end, show=show
    )
    if not as_json:
        typer.echo()
    return asdict(found), np.array([*found.prompt_ids, *found.new_ids[:-1]])


def _values(emulator: Any, steps: Any, output: Path | None, as_json: bool) -> dict[str, Any]:
    """Run arrays, write the outputs and print the largest one of each step."""
    import numpy as np

    run = emulator.run(steps)
    if output is not None:
        from evenfall.files import file_aside

        with file_aside(output) as aside, aside.open("wb") as file:
            np.savez(file, **run.outputs)
    largest = {name: values.argmax(-1).tolist() for name, values in run.outputs.items()}
    if not as_json:
        for name, choices in largest.items():
            shown = choices if isinstance(choices, int) else " ".join(map(str, choices))
            typer.echo(f"{name}: largest output {shown}")
    events = {name: float(counts.mean()) for name, counts in run.events.items()}
    return {"largest": largest, "events": events, "operations": float(run.operations.mean())}


def _orders(emulator: Any, steps: Any, orders: int, as_json: bool) -> dict[str, Any]:
    from evenfall_spinnaker2.emulator.orders import compare_orders

    study = compare_orders(emulator.image, steps, orders, allow_overflow=emulator.allow_overflow)
    if not as_json:
        rows = [
            (f"flipped events of {name}", f"{count} of {study.events[name] * orders:,}")
            for name, count in study.flipped.items()
        ]
        rows.append(("steps with another largest output", f"{study.changed_outputs}"))
        rows.append(("largest difference of an output", f"{study.largest_gap:.2g}"))
        show_facts(f"{orders} random orders of {study.steps} steps", rows)
    return asdict(study)


def read_inputs(path: Path) -> Any:
    """The array of a .npy file, without pickles.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file.
    """
    try:
        return read_array(path)
    except ValueError as error:
        raise ValueError(f"inputs {path}: not a .npy file of numbers ({error})") from None
