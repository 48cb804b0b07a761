"""`evenfall egru quantize`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console


class Weights(StrEnum):
    """How the weights are stored."""

    int8 = "int8"
    bfloat16 = "bfloat16"
    float16 = "float16"


def quantize(
    checkpoint: Annotated[str, typer.Argument(help="Folder, or model on the Hugging Face Hub.")],
    output: Annotated[Path, typer.Option(help="Folder to create.")],
    weights: Annotated[
        Weights, typer.Option(help="int8 has one scale for the weights of each unit.")
    ] = Weights.int8,
    keep: Annotated[
        list[str] | None, typer.Option(help="Module to leave as it is, such as lm_head.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing folder.")] = False,
) -> None:
    """Store the matrices of a model in int8, bfloat16 or float16."""
    from evenfall.files import written_aside

    from ..loading import load_checkpoint
    from ..quantization import quantize as run

    with clear_errors():
        model, tokenizer = load_checkpoint(checkpoint, "cpu")
        before = 4 * model.num_parameters()
        run(model, weights.value, keep)
        with written_aside(output, replace=replace) as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            size = (folder / "model.safetensors").stat().st_size
        console.print(
            f"wrote {output}: {size / 1e6:.2f} MB of weights, {before / 1e6:.2f} MB in float32",
            soft_wrap=True,
        )
