"""`evenfall sparsity prune`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console, show_facts


class Scope(StrEnum):
    """What is ranked together."""

    globally = "global"
    layer = "layer"


class Method(StrEnum):
    """The methods that need no data."""

    magnitude = "magnitude"
    random = "random"


def prune(
    checkpoint: Annotated[
        str, typer.Argument(help="Folder, registered checkpoint, or model on the Hub.")
    ],
    amount: Annotated[float, typer.Option(help="Share of the weights to remove, 0 to 1.")],
    output: Annotated[Path, typer.Option(help="Folder to write, for from_pretrained.")],
    block: Annotated[str, typer.Option(help="Inputs x outputs of a block, such as 1x16.")] = "1x1",
    scope: Annotated[
        Scope, typer.Option(help="global: all weights together; layer: each matrix alone.")
    ] = Scope.globally,
    include: Annotated[
        list[str] | None, typer.Option(help="Pattern of parameter names; repeat for several.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Pattern of names to leave as they are.")
    ] = None,
    method: Annotated[Method, typer.Option(help="What is removed first.")] = Method.magnitude,
    reorder: Annotated[
        bool, typer.Option(help="First permute units, so that large weights share blocks.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the method random.")] = 0,
) -> None:
    """Set a share of a model's weights to zero and save it."""
    from evenfall.files import write_json

    from ..pruning import prune as prune_model
    from .saving import load_savable, saved

    with clear_errors():
        model, others = load_savable(checkpoint, output)
        result = prune_model(
            model, amount, scope=scope.value, include=include, exclude=exclude, block=block,
            reorder=reorder, method=method.value, seed=seed,
        )  # fmt: skip
        with saved(model, others, output) as folder:
            record = {
                "checkpoint": checkpoint,
                "amount": amount,
                "block": list(result.block),
                "scope": scope.value,
                "method": method.value,
                "reorder": reorder,
                "matrices": {one.name: [one.zeros, one.weights] for one in result.matrices},
            }
            write_json(folder / "sparsity.json", record)
        rows = [
            (one.name, f"{one.zeros:,} of {one.weights:,}  ({one.zeros / one.weights:.1%})")
            for one in result.matrices
        ]
        total = f"{result.zeros:,} of {result.weights:,}  ({result.sparsity:.1%})"
        show_facts(f"{checkpoint}: weights that are zero", [*rows, ("all", total)])
        console.print(f"wrote {output}", soft_wrap=True)
