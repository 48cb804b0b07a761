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
        str | None, typer.Option(help="Text that shows which units are active.")
    ] = None,
    lossy: Annotated[
        bool, typer.Option("--lossy", help="Allow bfloat16 and int8 where they change weights.")
    ] = False,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Pattern of names to leave as they are.")
    ] = None,
) -> None:
    """Store each matrix of a model in the form that is fastest on this machine."""
    from evenfall.files import write_json, written_aside

    from ..compression import compress as compress_model
    from ..loading import load_model
    from .prompts import read_prompt

    with clear_errors():
        model, others = load_model(checkpoint)
        if not hasattr(model, "save_pretrained"):
            raise ValueError(f"checkpoint {checkpoint}: its model has no save_pretrained")
        batch = None if text is None else {"input_ids": read_prompt(text, others)[1]}
        result = compress_model(model, batch, exact=not lossy, exclude=exclude)
        with written_aside(output) as folder:
            model.save_pretrained(folder)
            for one in others:
                if hasattr(one, "save_pretrained"):
                    one.save_pretrained(folder)
            write_json(folder / "compression.json", result.as_dict())
        console.print(str(result), soft_wrap=True)
        console.print(f"wrote {output}", soft_wrap=True)
