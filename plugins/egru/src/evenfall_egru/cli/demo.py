"""`evenfall egru demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors, console, progress_bar

from .common import quiet_loading, show_evaluation


def demo(
    checkpoint: Annotated[Path, typer.Option(help="Folder of a language model.")] = Path(
        "hub_cards/egru-ptb-small"
    ),
    prompt: Annotated[str, typer.Option(help="How the text begins.")] = "the company said it",
    output: Annotated[Path, typer.Option(help="Folder for the raster.")] = Path("demo_out"),
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to write.")] = 40,
) -> None:
    """Show a model at work. Writes text, counts events, times what they save; offline, on CPU."""
    console.print(f"[bold]1. Loading {checkpoint}[/]")
    quiet_loading()
    from ..evaluation.perplexity import evaluate_tokens
    from ..generation.speed import compare
    from ..generation.writing import write_on
    from ..loading import load_checkpoint
    from ..publish.pack import draw_sample
    from ..text.corpus import encode
    from ..text.demo_text import DEMO_TEXT

    with clear_errors():
        if not checkpoint.is_dir():
            raise FileNotFoundError(
                f"checkpoint {checkpoint} is no folder; run this where hub_cards/ is, or name one "
                "with --checkpoint"
            )
        model, tokenizer = load_checkpoint(checkpoint, "cpu")
        console.print(f"   {model.num_parameters():,} parameters\n\n[bold]2. Writing[/]")
        write_on(model, tokenizer, prompt, console, max_new_tokens=tokens)

        console.print("\n[bold]3. Reading a text written for this demonstration[/]")
        ids = encode(tokenizer, DEMO_TEXT)
        with progress_bar("reading") as report:
            result = evaluate_tokens(model, ids, window=70, carry="full", progress=report)
        show_evaluation(result, model.config.hidden_sizes, "demo.txt")

        console.print("\n[bold]4. One token at a time, greedy, batch 1[/]")
        speed = compare(model, ids[None, :20])
        for label, rate in (
            ("every weight read", speed.dense),
            ("events only", speed.event_driven),
        ):
            console.print(f"   {label:<18} {rate:8,.0f} tokens/s")
        ratio = speed.event_driven / speed.dense
        same = "the same" if speed.same else "not quite the same"
        console.print(f"   {ratio:.2f} times as fast, and {same} tokens")

        picture = draw_sample(model, tokenizer, output / "raster.png")
    console.print(f"\n[bold]5. Who fired when:[/] {picture}", soft_wrap=True)
