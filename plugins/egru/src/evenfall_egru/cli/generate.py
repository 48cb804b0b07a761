"""`evenfall egru generate`."""

from __future__ import annotations

from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console, errors


def generate(
    checkpoint: Annotated[str, typer.Argument(help="Folder, or model on the Hugging Face Hub.")],
    prompt: Annotated[str, typer.Argument(help="Start of the text.")],
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens to add.")] = 60,
    temperature: Annotated[float, typer.Option(help="Higher: more random.")] = 0.8,
    top_k: Annotated[int, typer.Option(min=0, help="Sample from the k likeliest; 0: all.")] = 40,
    seed: Annotated[int, typer.Option(min=0, max=2**64 - 1, help="Seed of the sampling.")] = 0,
    greedy: Annotated[bool, typer.Option("--greedy", help="Take the likeliest token.")] = False,
    device: Annotated[str | None, typer.Option(help="Device, such as cpu or cuda:0.")] = None,
) -> None:
    """Continue a prompt. Prints word by word, continues past line ends and never writes <unk>."""
    from ..generation.writing import continue_prompt, unknown_words
    from ..loading import load_checkpoint

    with clear_errors():
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}; use --greedy for 0")
        model, tokenizer = load_checkpoint(checkpoint, device)
        unknown = unknown_words(tokenizer, prompt)
        if unknown:
            errors.print(f"not in the vocabulary: {' '.join(unknown)}")
        continue_prompt(
            model, tokenizer, prompt, console, max_new_tokens=max_new_tokens, seed=seed,
            temperature=temperature, top_k=top_k, greedy=greedy,
        )  # fmt: skip
