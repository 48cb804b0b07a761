"""`evenfall egru evaluate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console, progress_bar

from .common import show_evaluation


class Split(StrEnum):
    """The splits that a model may be evaluated on."""

    valid = "valid"
    test = "test"


class Carry(StrEnum):
    """What is passed from one window to the next."""

    full = "full"
    output = "output"
    none = "none"


def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="Folder, or model on the Hugging Face Hub.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder or zip archive with valid and test.")
    ] = None,
    text: Annotated[Path | None, typer.Option(help="Text file, instead of --data.")] = None,
    split: Annotated[Split | None, typer.Option(help="Split of --data. [default: valid]")] = None,
    window: Annotated[int, typer.Option(min=1, help="Tokens per call.")] = 70,
    carry: Annotated[
        Carry,
        typer.Option(help="full: y and h; output: only y, the published protocol; none: nothing."),
    ] = Carry.full,
    output: Annotated[
        Path | None, typer.Option(help="Folder for results.json and raster.png.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Device, such as cpu or cuda:0.")] = None,
) -> None:
    """Print perplexity, activity and operation counts."""
    from evenfall.corpora import decode, read_split
    from evenfall.files import without_nan, write_json

    from ..evaluation.perplexity import evaluate_tokens
    from ..loading import load_checkpoint
    from ..publish.pack import draw_sample
    from ..text.encoding import encode

    with clear_errors():
        if text is not None and split is not None:
            raise ValueError(f"--split is a split of --data, got --split {split} with --text")
        if data is not None and text is None:
            split = split or Split.valid
            content, source = read_split(data, split), f"{split} split"
        elif text is not None and data is None:
            content, source = decode(text.read_bytes(), f"text {text}"), text.name
        else:
            raise ValueError("pass exactly one of --data and --text")
        model, tokenizer = load_checkpoint(checkpoint, device)
        with progress_bar("evaluating") as report:
            result = evaluate_tokens(
                model, encode(tokenizer, content), window=window, carry=carry.value, progress=report
            )
        show_evaluation(result, model.config.hidden_sizes, f"{checkpoint} on {source}")
        if output is not None:
            record = {"checkpoint": checkpoint, "text": source, **result}
            write_json(output / "results.json", without_nan(record))
            draw_sample(model, tokenizer, output / "raster.png", content)
            console.print(f"wrote results.json and raster.png to {output}", soft_wrap=True)
