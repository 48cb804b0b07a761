"""Small seeded stacks and states for the tests of egru_step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from evenfall_kernels import EgruStack, EgruWeights

State = tuple[Tensor, Tensor]
WIDTH, UNITS, WORDS = 13, (21, 5, 17), 63


def make_stack(
    dtype: torch.dtype = torch.float32,
    width: int = WIDTH,
    units: tuple[int, ...] = UNITS,
    words: int = WORDS,
    decodes: bool = True,
    has_bias: bool = True,
    **options: Any,
) -> EgruStack:
    """A stack with random weights; `options` replace arguments of EgruStack."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return (torch.randn(shape, generator=generator) / shape[0] ** 0.5).to(dtype)

    embedding, layers, inputs = random(words, width) * 5, [], width
    for size in units:
        threshold = torch.rand(size, generator=generator).to(dtype) - 0.2  # some are negative
        layers.append(
            EgruWeights(
                random(inputs, 3 * size),
                random(size, 3 * size),
                random(3 * size),
                random(3 * size),
                threshold,
            )
        )
        inputs = size
    arguments = {
        "embedding": embedding,
        "layers": layers,
        "decoder": random(inputs, words) if decodes else None,
        "decoder_bias": random(words) if decodes and has_bias else None,
    }
    return EgruStack(**{**arguments, **options})


def double(stack: EgruStack) -> EgruStack:
    """The same weights in float64, dense."""

    def convert(matrix: Any) -> Any:
        if matrix is None:
            return None
        return (matrix if isinstance(matrix, Tensor) else matrix.dense()).double()

    words = convert(stack.embedding)
    return EgruStack(
        words if isinstance(stack.embedding, Tensor) else words.t().contiguous(),
        [EgruWeights(*map(convert, layer)) for layer in stack.layers],
        convert(stack.decoder),
        convert(stack.decoder_bias),
    )


def make_states(stack: EgruStack, batch: int, activity: float = 0.3) -> list[State]:
    """Random states, most of whose outputs are 0."""
    generator = torch.Generator().manual_seed(1)
    states = []
    for units in stack.units:
        fired = torch.rand(batch, units, generator=generator) < activity
        y = torch.rand(batch, units, generator=generator) * fired
        states.append((y, torch.randn(batch, units, generator=generator)))
    return states


def make_ids(batch: int) -> Tensor:
    """Token ids, (batch,)."""
    return torch.randint(WORDS, (batch,), generator=torch.Generator().manual_seed(2))
