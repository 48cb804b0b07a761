"""Shared by the commands: the table of an evaluation."""

from __future__ import annotations

from typing import Any

from evenfall.cli.tools import show_facts


def show_evaluation(result: dict[str, Any], sizes: list[int], title: str) -> None:
    """Print the table of one evaluation."""
    protocol, macs = f"window {result['window']}, carry {result['carry']}", result["macs"]
    layers = enumerate(zip(sizes, result["activity"], strict=True), 1)
    effective = f"{macs['effective'] / 1e6:.3f} million  ({macs['ratio']:.1f}x fewer)"
    rows = [
        ("perplexity", f"{result['perplexity']:.2f}  ({protocol})"),
        ("tokens predicted", f"{result['tokens']:,}"),
        *((f"activity, layer {i}", f"{100 * rate:.1f} % of {n} units") for i, (n, rate) in layers),
        *_backward(result),
        ("MACs per token, dense", f"{macs['dense'] / 1e6:.3f} million"),
        ("MACs per token, effective", effective),
        ("tokens per second", f"{result['tokens_per_second']:,.0f}"),
    ]
    show_facts(title, rows)


def _backward(result: dict[str, Any]) -> list[tuple[str, str]]:
    rates = result["backward_sparsity"] or []
    return [
        (f"no gradient, layer {i}", f"{100 * rate:.1f} % of units")
        for i, rate in enumerate(rates, 1)
    ]
