"""Perplexity, activity and operation counts of a causal EGRU model on a token stream."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import DynamicCache

from evenfall.checks import check_choice, check_integer

from ..models.configuration_egru import EgruConfig
from ..models.modeling_egru import EgruForCausalLM
from .backward import silent_rates
from .macs import count_macs


@torch.no_grad()
def evaluate_tokens(
    model: EgruForCausalLM,
    tokens: torch.Tensor,
    *,
    window: int = 256,
    carry: str = "full",
    batch_size: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Evaluate next-token prediction over a whole stream.

    Every token but the first is predicted once; with several streams, the tokens that are left over
    at the end are not used. ppl = exp(sum of -log p / count).

    Args:
        model: the model; it is in evaluation mode afterwards.
        tokens: (N,) ids.
        window: tokens per call. With full carry it does not change the result.
        carry: what is passed from window to window: "full" y and h; "output" only y, while h
            restarts at 0 (the published protocol, with window 70); "none" nothing.
        batch_size: the number of contiguous streams into which the tokens are split. Each starts
            with an empty state, so the published protocols have 1.
        progress: called with (tokens done, total tokens).

    Returns:
        loss (nats per token), perplexity, tokens, activity per layer, mean_activity (over units),
        backward_sparsity per layer and its mean (the share of units whose gradient would be zero,
        see `backward`; None for LSTM and GRU), macs (effective and dense, per token), seconds,
        tokens_per_second, window, carry, batch_size.

    Raises:
        ValueError: too few tokens or several rows of them, an unknown carry, or a window or batch
            size below 1.
    """
    check_choice("carry", carry, ("full", "output", "none"))
    check_integer("window", window, 1)
    check_integer("batch_size", batch_size, 1)
    if tokens.dim() != 1:
        raise ValueError(f"tokens must have shape (N,), got {tuple(tokens.shape)}")
    length = (len(tokens) - 1) // batch_size
    if length < 1:
        raise ValueError(
            f"tokens must have more than {batch_size} ids for batch_size {batch_size}, "
            f"got {len(tokens)}"
        )
    model.eval()
    device = next(model.parameters()).device
    pieces = torch.stack([tokens[i * length : (i + 1) * length + 1] for i in range(batch_size)]).to(
        device
    )
    setting, total, count = model.config.carry, 0.0, 0
    layers = model.config.num_hidden_layers
    has_cells = isinstance(model.config, EgruConfig)
    events, silent = torch.zeros(2, layers, dtype=torch.float64)
    begin = time.perf_counter()
    model.config.carry = "output" if carry == "output" else "full"
    try:
        cache = None
        for first in range(0, length, window):
            inputs = pieces[:, first : min(first + window, length)]
            labels = pieces[:, first + 1 : first + 1 + inputs.shape[1]]
            if cache is None or carry == "none":
                cache = DynamicCache(config=model.config)
            out = model(
                inputs, labels=labels, shift_labels=labels, past_key_values=cache,
                use_cache=True, skip_logits=True, output_events=True, output_cells=has_cells,
            )  # fmt: skip
            items = inputs.numel()
            total, count = total + float(out.loss) * items, count + items
            events += torch.stack(out.activity).double().cpu() * items
            if has_cells:
                silent += torch.tensor(silent_rates(model, out.cells), dtype=torch.float64) * items
            if progress is not None:
                progress(count, length * batch_size)
    finally:
        model.config.carry = setting
    seconds = time.perf_counter() - begin
    activity = (events / count).tolist()
    backward = (silent / count).tolist() if has_cells else None
    sizes = model.config.hidden_sizes
    return {
        "loss": total / count,
        "perplexity": _exp(total / count),
        "tokens": count,
        "activity": activity,
        "mean_activity": _mean(activity, sizes),
        "backward_sparsity": backward,
        "mean_backward_sparsity": None if backward is None else _mean(backward, sizes),
        "macs": count_macs(model, activity),
        "seconds": seconds,
        "tokens_per_second": count / seconds,
        "window": window,
        "carry": carry,
        "batch_size": batch_size,
    }


def _exp(loss: float) -> float:
    """e^loss; infinity where that exceeds the largest number, as of a model that diverged."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def _mean(rates: list[float], sizes: list[int]) -> float:
    """The mean over all units of rates of the layers."""
    return sum(rate * size for rate, size in zip(rates, sizes, strict=True)) / sum(sizes)
