"""`evenfall sparsity compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console


def compress(
    checkpoint: Annotated[
        str, typer.Argument(help="Folder, registered checkpoint, or model on the Hub.")
    ],
    output: Annotated[Path, typer.Option(help="Folder to write, for from_pretrained.")],
    text: Annotated[
        Path | None, typer.Option(help="Text file that shows which units are active.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of the text to read.")] = 512,
    lossy: Annotated[
        bool, typer.Option("--lossy", help="Allow bfloat16 and int8 where they change weights.")
    ] = False,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Pattern of names to leave as they are.")
    ] = None,
) -> None:
    """Store each matrix of a model in the form that is fastest on this machine."""
    from evenfall.files import write_json

    from ..compression import compress as compress_model
    from .prompts import read_text
    from .saving import load_savable, saved

    with clear_errors():
        model, others = load_savable(checkpoint, output)
        batch = None if text is None else {"input_ids": read_text(text, others, tokens)}
        result = compress_model(model, batch, exact=not lossy, exclude=exclude)
        with saved(model, others, output) as folder:
            write_json(folder / "compression.json", result.as_dict())
        console.print(str(result), soft_wrap=True)
        console.print(f"wrote {output}", soft_wrap=True)
