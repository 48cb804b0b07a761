"""Faster float32 matrix products on the CPU: oneDNN instead of MKL.

torch.mm passes float32 to MKL, which uses AVX-512 on Intel processors only. oneDNN, also part of
PyTorch, uses it on all. Without oneDNN, everything falls back to torch.mm.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .dispatch import is_plain_eager

_MIN_ROWS = 32  # in total; with fewer, reordering the matrix costs more than it saves


def has_onednn() -> bool:
    """Whether this PyTorch can multiply float32 on the CPU through oneDNN."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class DenseProduct:
    """a @ matrix for many a; the matrix is reordered for oneDNN once.

    Args:
        matrix: (K, N).
        rows: total number of rows of all a.
    """

    def __init__(self, matrix: Tensor, rows: int) -> None:
        self.matrix = matrix
        self.packed: Tensor | None = None
        fast = rows >= _MIN_ROWS and matrix.is_cpu and matrix.dtype == torch.float32
        if fast and matrix.numel() > 0 and has_onednn():
            self.packed = matrix.detach().t().contiguous().to_mkldnn()

    def __call__(self, a: Tensor) -> Tensor:
        """(M, K) -> (M, N), in the matrix's precision."""
        if self.packed is None or a.dtype != torch.float32 or a.shape[0] == 0:
            return a.to(self.matrix.dtype) @ self.matrix
        return torch.ops.mkldnn._linear_pointwise(a.contiguous(), self.packed, None, "none", [], "")

    def into(self, a: Tensor, out: Tensor) -> None:
        """out = a @ matrix."""
        if self.packed is None and a.dtype == self.matrix.dtype:
            torch.mm(a, self.matrix, out=out)
        else:
            out.copy_(self(a))


def _affine(x: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    return DenseProduct(matrix, x.shape[0])(x).add_(bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, matrix)
        return _affine(x, matrix, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, matrix = ctx.saved_tensors
        wants_x, wants_matrix, wants_bias = ctx.needs_input_grad
        d_x = None
        if wants_x:  # with create_graph=True, by an operation that has derivatives itself
            recorded = torch.is_grad_enabled()
            d_x = grad @ matrix.t() if recorded else DenseProduct(matrix.t(), len(grad))(grad)
        d_matrix = x.t() @ grad if wants_matrix else None
        return d_x, d_matrix, grad.sum(0) if wants_bias else None


def linear(x: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    """x @ matrix + bias, (M, K) and (K, N) -> (M, N)."""
    autocast = torch.is_autocast_enabled(x.device.type)
    fast = x.is_cpu and x.dtype == torch.float32 and not autocast
    if not (fast and is_plain_eager((x, matrix, bias))):
        return F.linear(x, matrix.t(), bias)
    # Calling an autograd.Function takes as long as the product of one row.
    return _Linear.apply(x, matrix, bias) if torch.is_grad_enabled() else _affine(x, matrix, bias)
