"""One token of an EGRU stack in plain PyTorch: the definition for tests of other backends.

Dimensions: B sequences, E embedding, H units of a layer, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..egru_scan.reference import layer as run_layer

if TYPE_CHECKING:
    from .layout import Matrix
    from .stack import EgruStack

State = tuple[Tensor, Tensor]


def step(stack: EgruStack, ids: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
    """ids (B,), states (y, h) each (B, H) -> (B, V), or (B, H) without a decoder, and states."""
    dtype = torch.float64 if stack.dtype == torch.float64 else torch.float32
    x, new = _words(stack, ids).to(dtype), []
    for weights, (y, h) in zip(stack.layers, states, strict=True):
        kernel, recurrent_kernel = as_dense(weights.kernel), as_dense(weights.recurrent_kernel)
        bias, recurrent_bias, threshold = (t.to(dtype) for t in weights[2:])
        recurrent = (
            recurrent_kernel, recurrent_bias, threshold.clamp(0, 1), y, h, None, 1.0,
            [ids.shape[0]], 0.0, 0.0,
        )  # fmt: skip
        x, _, h = run_layer(x, kernel.to(dtype), bias, recurrent, "released")
        new.append((x, h))
    if stack.decoder is not None:
        bias = stack.decoder_bias
        decoder = as_dense(stack.decoder).to(dtype)
        x = F.linear(x, decoder.t(), None if bias is None else bias.to(dtype))
    return x.to(stack.dtype), new


def _words(stack: EgruStack, ids: Tensor) -> Tensor:
    words = stack.embedding
    return F.embedding(ids, words) if isinstance(words, Tensor) else words.take_columns(ids)


def as_dense(matrix: Matrix) -> Tensor:
    """The matrix (I, O)."""
    return matrix if isinstance(matrix, Tensor) else matrix.dense()
