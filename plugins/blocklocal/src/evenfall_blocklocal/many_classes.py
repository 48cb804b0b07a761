"""Cross-entropy of a linear layer with many classes, without the matrix of all scores.

    s = a b^T + c,    loss = mean over n of logsumexp(s_n) - s_{n, target}

Rows are scored in chunks, and the gradient of a chunk is computed while its scores are in the
cache. So the memory is that of one chunk, and no pass over all N x Y scores goes to memory.

Dimensions: N rows, D columns, Y classes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_SCORES = 2**20
"""Scores of a chunk: 4 MiB."""


def linear_cross_entropy(a: Tensor, b: Tensor, c: Tensor, target: Tensor) -> Tensor:
    """The mean loss of a (N, D), b (Y, D), c (Y,) and classes (N,), in float32 at least.

    Its gradient is computed at once, so it has no second derivative.
    """
    if not torch.is_grad_enabled() or not len(a):
        return F.cross_entropy(F.linear(a, b, c), target)
    loss: Tensor = _LinearCrossEntropy.apply(a, b, c, target)
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, c: Tensor, target: Tensor) -> Tensor:
        kinds = a.dtype, b.dtype, c.dtype
        with torch.autocast(a.device.type, enabled=False):
            loss, gradients = _loss_and_gradients(_widen(a), _widen(b), _widen(c), target)
        ctx.save_for_backward(*(g.to(k) for g, k in zip(gradients, kinds, strict=True)))
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (*(saved * gradient for saved in ctx.saved_tensors), None)


def _loss_and_gradients(
    a: Tensor, b: Tensor, c: Tensor, target: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    to_a, to_b, to_c = torch.empty_like(a), torch.zeros_like(b), torch.zeros_like(c)
    total = a.new_zeros(())
    size = max(_SCORES // len(b), 1)
    for start in range(0, len(a), size):
        rows = slice(start, start + size)
        scores = torch.addmm(c, a[rows], b.t())
        own = target[rows].unsqueeze(1)
        highest, chosen = scores.amax(1, keepdim=True), scores.gather(1, own)
        share = torch.softmax(scores, 1)
        # the greatest share is exp(0) / sum
        total += (highest - share.amax(1, keepdim=True).log() - chosen).sum()
        share.scatter_add_(1, own, share.new_full((), -1).expand_as(own)).div_(len(a))
        torch.mm(share, b, out=to_a[rows])
        to_b.addmm_(share.t(), a[rows])
        to_c += share.sum(0)
    return total / len(a), (to_a, to_b, to_c)


def _widen(x: Tensor) -> Tensor:
    return x.float() if x.dtype.itemsize < 4 else x
