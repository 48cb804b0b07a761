"""`evenfall blocklocal split`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from evenfall.cli.tools import clear_errors, console, show_rows
from evenfall.reading import read_json


def split(
    model: Annotated[
        str, typer.Argument(help="Name of a timm model, or a folder of a transformers model.")
    ],
    blocks: Annotated[
        int | None, typer.Option(min=1, help="Number of blocks. [default: 4]")
    ] = None,
    balance: Annotated[
        str | None,
        typer.Option(help="What blocks have alike: params, macs or activations. [default: macs]"),
    ] = None,
    boundary: Annotated[
        list[str] | None, typer.Option(help="A module after which to cut; may be repeated.")
    ] = None,
    tied: Annotated[str, typer.Option(help="Tied weights: refuse, untie or last.")] = "refuse",
    ranks: Annotated[
        int | None, typer.Option(min=1, help="Also say whether these ranks can share the blocks.")
    ] = None,
    legal: Annotated[bool, typer.Option("--legal", help="Also list every legal cut.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")] = False,
) -> None:
    """Show where a model can be cut into blocks that learn by themselves. Nothing is trained."""
    from evenfall.cli.output import write_json

    from ..splitting import check_leaks, split_blocks

    with clear_errors():
        network = _load(model)
        options: dict[str, Any] = {"balance": balance, "tied": tied}
        found = split_blocks(network, blocks, boundaries=boundary or None, **options)
        check_leaks(network, found)
        reasons = None if ranks is None else _reasons(network, found, ranks)
    if as_json:
        shown = [asdict(block) for block in found.blocks]
        write_json({"blocks": shown, "legal": found.legal, "tied": found.tied, "ranks": reasons})
        return
    show_rows(("block", "ends after", "parameters", "MACs", "saved"), found.rows())
    for line in found.tied:
        console.print(line, soft_wrap=True)
    if legal:
        console.print(f"legal cuts: {', '.join(found.legal)}", soft_wrap=True)
    if reasons is not None:
        verdict = "can share the blocks" if not reasons else "cannot: " + "; ".join(reasons)
        console.print(f"with direct feedback, {ranks} ranks {verdict}", soft_wrap=True)


def _reasons(network: Any, found: Any, ranks: int) -> list[str]:
    from ..local import BlockLocal
    from ..processes import explain_plan

    return explain_plan(BlockLocal(network, found, feedback="direct"), ranks)


def _load(name: str) -> Any:
    """A timm model with random weights, or a transformers model of its config."""
    config = Path(name) / "config.json"
    if config.is_file() and "model_type" in read_json(config, "config"):
        import transformers

        import evenfall
        from evenfall import registry

        evenfall.load_plugins()
        for entry in registry.models.entries():
            if entry.metadata.get("host") == "transformers":
                registry.models.get(entry.name)  # registers it with the Auto classes
        settings = transformers.AutoConfig.from_pretrained(name)
        kinds = [getattr(transformers, kind, None) for kind in settings.architectures or ()]
        if kinds and kinds[0] is not None:
            return kinds[0](settings)
        return transformers.AutoModelForCausalLM.from_config(settings)
    from ..training.networks import timm_model

    return timm_model(name, "a timm model, or the folder of a transformers model")()
