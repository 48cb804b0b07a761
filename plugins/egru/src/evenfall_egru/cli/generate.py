"""`evenfall egru generate`."""

from __future__ import annotations

from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console, errors

from .common import quiet_loading


def generate(
    checkpoint: Annotated[str, typer.Argument(help="Folder, or model on the Hugging Face hub.")],
    prompt: Annotated[str, typer.Argument(help="How the text begins.")],
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens to add.")] = 60,
    temperature: Annotated[float, typer.Option(help="Below 1 safer, above 1 wilder.")] = 0.8,
    top_k: Annotated[int, typer.Option(min=0, help="Draw from the k likeliest; 0: all.")] = 40,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    greedy: Annotated[bool, typer.Option("--greedy", help="Always the likeliest token.")] = False,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda:0.")] = None,
) -> None:
    """Continue a prompt. Goes on over line ends, word by word as they come; never with <unk>."""
    from ..generation.writing import unknown_words, write_on
    from ..loading import load_checkpoint

    quiet_loading()
    with clear_errors():
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}; use --greedy for 0")
        model, tokenizer = load_checkpoint(checkpoint, device)
        unknown = unknown_words(tokenizer, prompt)
        if unknown:
            errors.print(f"not in the vocabulary: {' '.join(unknown)}", markup=False)
        write_on(
            model, tokenizer, prompt, console, max_new_tokens=max_new_tokens, seed=seed,
            temperature=temperature, top_k=top_k, greedy=greedy,
        )  # fmt: skip
