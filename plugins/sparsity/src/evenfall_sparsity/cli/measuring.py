"""`evenfall sparsity measure`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evenfall.cli.output import write_json as show_json
from evenfall.cli.tools import clear_errors, console, errors, show_facts, show_rows

from .prompts import read_text

if TYPE_CHECKING:
    from ..measurement import Measurement


def measure(
    checkpoint: Annotated[
        str, typer.Argument(help="Folder, registered checkpoint, or model on the Hub.")
    ],
    text: Annotated[
        Path | None, typer.Option(help="Text file to read; without it, random tokens.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to read.")] = 512,
    output: Annotated[
        Path | None, typer.Option(help="Folder for measurement.json and measurement.png.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count what a language model stores and computes per token."""
    from evenfall.files import write_json
    from evenfall.pictures import require_pictures

    from ..loading import load_model
    from ..measurement import draw_measurement
    from ..measurement import measure as measure_model

    with clear_errors():
        if output is not None:
            require_pictures()
        model, others = load_model(checkpoint)
        result = measure_model(model, {"input_ids": _ids(model, others, text, tokens)})
        content = {"checkpoint": checkpoint, **result.as_dict()}
        if as_json:
            show_json(content)
        else:
            _show(result, checkpoint)
        if output is not None:
            write_json(output / "measurement.json", content)
            draw_measurement(result, output / "measurement.png")
            errors.print(f"wrote measurement.json and measurement.png to {output}")


def _ids(model: Any, others: tuple[Any, ...], text: Path | None, tokens: int) -> Any:
    import torch

    size = getattr(getattr(model, "config", None), "vocab_size", None)
    if size is None:
        raise ValueError(
            f"{type(model).__name__} reads no tokens; call evenfall_sparsity.measure(model, batch)"
        )
    if text is None:
        errors.print("no --text: random tokens, whose activity is not that of text")
        generator = torch.Generator().manual_seed(0)
        return torch.randint(size, (1, tokens), generator=generator)
    return read_text(text, others, tokens)


def _show(result: Measurement, name: str) -> None:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f} %"

    effective = result.effective_macs + result.effective_acs
    ratio = f"{result.dense_macs / effective:.1f}x fewer" if effective else "none"
    parts = [
        (f"  {part}", f"{dense:,.0f} dense, {done:,.0f} effective")
        for part in ("first layer's input", "hidden", "decoder")
        for dense, done in [result.part(part)]
        if dense
    ]
    show_facts(
        f"{name}, {result.items} {result.item}s",
        [
            ("parameters", f"{result.parameters:,}"),
            ("footprint", f"{result.footprint / 1e6:.2f} MB"),
            ("connection sparsity", share(result.connection_sparsity)),
            ("activation sparsity", share(result.activation_sparsity)),
            ("backward sparsity", share(result.backward_sparsity)),
            (f"dense MACs per {result.item}", f"{result.dense_macs:,.0f}"),
            (f"effective MACs per {result.item}", f"{result.effective_macs:,.0f}  ({ratio})"),
            (f"effective ACs per {result.item}", f"{result.effective_acs:,.0f}"),
            *parts,
        ],
    )
    show_rows(
        ("matrix", "density", "activity", "product", "effective"),
        [
            (
                one.name,
                share(one.density),
                share(one.activity),
                share(one.expected / one.dense_macs if one.dense_macs else None),
                share(
                    (one.effective_macs + one.effective_acs) / one.dense_macs
                    if one.dense_macs
                    else None
                ),
            )
            for one in result.matrices
        ],
    )
    for module, kind in result.unknown.items():
        console.print(f"not counted: {module or 'the model'}, a {kind}", soft_wrap=True)
    for module in result.not_called:
        console.print(f"not called: {module}", soft_wrap=True)
