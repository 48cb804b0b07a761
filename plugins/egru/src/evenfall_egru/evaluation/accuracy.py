"""Accuracy, loss and activity of a classifier of frame sequences."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from evenfall.checks import check_integer

from ..sequences.frames import Frames
from .backward import silent_rates


@torch.no_grad()
def evaluate_frames(model: nn.Module, frames: Frames, batch_size: int = 250) -> dict[str, Any]:
    """Classify every sequence once, in order.

    Args:
        model: EgruForSequenceClassification, or a model with its arguments and results.
        frames: the sequences and their labels.
        batch_size: sequences per call.

    Returns:
        `accuracy` and the mean cross-entropy `loss` over all sequences; `predictions`, a list of
        classes; `activity`, the share of units that fire at a step, and `backward_sparsity`, the
        share whose gradient would be zero, for each layer (none for other models); `sequences`,
        their number; `sequences_per_second`.

    Raises:
        ValueError: no sequences, or a batch size below 1.
    """
    check_integer("batch_size", batch_size, 1)
    if not len(frames):
        raise ValueError("frames must have at least one sequence, got none")
    model.eval()
    device = next(model.parameters()).device
    started, loss = time.perf_counter(), 0.0
    predictions: list[int] = []
    activity: list[float] = []
    silent: list[float] = []
    for first in range(0, len(frames), batch_size):
        batch = frames.batch(slice(first, first + batch_size))
        labels = batch["labels"]
        output = model(
            inputs_embeds=batch["inputs_embeds"].to(device), use_cache=False, output_events=True,
            output_cells=True,
        )  # fmt: skip
        logits = output.logits.float().cpu()
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
        predictions += logits.argmax(1).tolist()
        activity = _add(activity, getattr(output, "activity", None) or (), len(labels))
        if getattr(output, "cells", None):
            silent = _add(silent, silent_rates(model, output.cells), len(labels))
    right = sum(a == b for a, b in zip(predictions, frames.labels.tolist(), strict=True))
    return {
        "accuracy": right / len(frames),
        "loss": loss / len(frames),
        "activity": [rate / len(frames) for rate in activity],
        "backward_sparsity": [rate / len(frames) for rate in silent],
        "predictions": predictions,
        "sequences": len(frames),
        "sequences_per_second": len(frames) / (time.perf_counter() - started),
    }


def _add(sums: list[float], rates: Iterable[Any], weight: int) -> list[float]:
    """The sums with the rates of one batch added."""
    new = [float(rate) * weight for rate in rates]
    return [a + b for a, b in zip(sums or [0.0] * len(new), new, strict=True)]
