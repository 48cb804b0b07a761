"""`evenfall sparsity demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console


def demo(
    checkpoint: Annotated[
        str, typer.Argument(help="Folder, registered checkpoint, or model on the Hub.")
    ] = "hub_cards/egru-ptb-sparse",
    prompt: Annotated[str, typer.Option(help="Start of the text.")] = "the company said it",
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to generate.")] = 40,
    rounds: Annotated[int, typer.Option(min=1, help="How often each model answers.")] = 5,
    lossy: Annotated[
        bool, typer.Option("--lossy", help="Allow bfloat16 and int8 where they change weights.")
    ] = False,
) -> None:
    """Answer one prompt with a model and with its compressed form: text and speed."""
    from ..compression.speed import compare_text
    from ..loading import load_model
    from .prompts import read_prompt

    with clear_errors():
        model, others = load_model(checkpoint)
        tokenizer, ids = read_prompt(prompt, others)
        found = compare_text(model, ids, tokens=tokens, rounds=rounds, exact=not lossy)
    console.print(f"{found.compression}\n", soft_wrap=True)
    for label, answer, speed in (
        ("as it is", found.tokens, found.speed),
        ("compressed", found.tokens_compressed, found.speed_compressed),
    ):
        console.print(f"{label}, {speed:,.0f} tokens/s", style="bold")
        console.print(f"   {tokenizer.decode(answer)}", soft_wrap=True)
    same = "the same text" if found.same else "the texts differ"
    ratio = found.speed_compressed / found.speed
    console.print(f"compressed is {ratio:.2f}x as fast; {same}")
