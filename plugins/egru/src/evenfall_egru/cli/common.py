"""What the commands share: quiet loading, and the table of an evaluation."""

from __future__ import annotations

import logging
from typing import Any

from rich.table import Table

from evenfall.cli.tools import console


def quiet_loading() -> None:
    """No bars and no advice from transformers while a checkpoint loads."""
    from transformers.utils import logging as host

    host.set_verbosity_error()
    host.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def show_evaluation(result: dict[str, Any], sizes: list[int], title: str) -> None:
    """A table of one evaluation."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    protocol = f"window {result['window']}, carry {result['carry']}"
    table.add_row("perplexity", f"{result['perplexity']:.2f}  ({protocol})")
    table.add_row("tokens predicted", f"{result['tokens']:,}")
    for index, (units, rate) in enumerate(zip(sizes, result["activity"], strict=True), 1):
        table.add_row(f"activity, layer {index}", f"{100 * rate:.1f} % of {units} units")
    macs = result["macs"]
    table.add_row("MACs per token, dense", f"{macs['dense'] / 1e6:.3f} million")
    effective = f"{macs['effective'] / 1e6:.3f} million  ({macs['ratio']:.1f} times fewer)"
    table.add_row("MACs per token, effective", effective)
    table.add_row("tokens per second", f"{result['tokens_per_second']:,.0f}")
    console.print(table)
