"""Measure a model on the samples of a source."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from ..splitting.trial import unchanged
from .source import Batch, Part, Source


def batches(
    source: Source, part: Part, batch_size: int, most: int | None = None
) -> Iterator[Batch]:
    """The samples of a part in order, at most so many."""
    size = source.sizes[part] if most is None else min(most, source.sizes[part])
    for rows in torch.arange(size).split(batch_size):
        yield source.batch(part, rows)


@torch.no_grad()
def measure(model: nn.Module, source: Source, part: Part, batch_size: int = 256) -> float:
    """The share of samples that a model in eval mode classifies as labelled; or its perplexity,
    each window of text on its own."""
    total = 0.0
    with unchanged(model):
        model.eval()
        for batch in batches(source, part, batch_size):
            output = model(*batch.args, **batch.kwargs)
            if source.metric == "accuracy":
                total += float((output.argmax(1) == batch.target).sum())
            else:
                total += float(output.loss) * len(batch.target)
    mean = total / source.sizes[part]
    return mean if source.metric == "accuracy" else math.exp(min(mean, 100))
