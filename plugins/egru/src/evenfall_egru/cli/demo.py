"""`evenfall egru demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console, progress_bar

from .common import show_evaluation


def demo(
    checkpoint: Annotated[Path, typer.Option(help="Folder of an EGRU language model.")] = Path(
        "hub_cards/egru-ptb-small"
    ),
    prompt: Annotated[str, typer.Option(help="Start of the text.")] = "the company said it",
    output: Annotated[Path, typer.Option(help="Folder for the raster.")] = Path("demo_out"),
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to generate.")] = 40,
) -> None:
    """Demonstrate a model. Generates text, counts events and measures speed, offline on the CPU."""
    console.print(f"1. Loading {checkpoint}", style="bold")
    from ..evaluation.perplexity import evaluate_tokens
    from ..generation.speed import compare
    from ..generation.writing import continue_prompt
    from ..loading import load_checkpoint
    from ..publish.pack import draw_sample
    from ..text.demo_text import DEMO_TEXT
    from ..text.encoding import encode

    with clear_errors():
        if not checkpoint.is_dir():
            raise FileNotFoundError(
                f"checkpoint {checkpoint} is not a folder; run this in a checkout of Evenfall, or "
                "pass --checkpoint FOLDER"
            )
        model, tokenizer = load_checkpoint(checkpoint, "cpu")
        console.print(f"   {model.num_parameters():,} parameters\n")
        console.print("2. Generating text", style="bold")
        continue_prompt(model, tokenizer, prompt, console, max_new_tokens=tokens)

        console.print("\n3. Evaluating on a text written for this demo", style="bold")
        ids = encode(tokenizer, DEMO_TEXT)
        with progress_bar("evaluating") as report:
            result = evaluate_tokens(model, ids, window=70, carry="full", progress=report)
        show_evaluation(result, model.config.hidden_sizes, "demo.txt")

        console.print("\n4. Speed: greedy, one token at a time, batch 1", style="bold")
        speed = compare(model, ids[None, :20])
        for label, rate in (
            ("dense", speed.dense),
            ("event-driven", speed.event_driven),
        ):
            console.print(f"   {label:<18} {rate:8,.0f} tokens/s")
        ratio = speed.event_driven / speed.dense
        tokens_match = "the same tokens" if speed.same else "some tokens differ"
        console.print(f"   event-driven is {ratio:.2f}x as fast; {tokens_match}")

        picture = draw_sample(model, tokenizer, output / "raster.png")
    console.print("\n5. Events of each unit:", style="bold", end=" ")
    console.print(str(picture), soft_wrap=True)
