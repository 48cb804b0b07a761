"""mamba_ssm's fused norms where its Triton kernels do not run: off CUDA, in plain PyTorch."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_UNSERVED = ("x1", "weight1", "bias1", "return_dropout_mask")


def off_cuda(original: Callable[..., Any]) -> Callable[..., Any]:
    """`layer_norm_fn` or `rms_norm_fn` that runs anywhere; on CUDA it is the original.

    Parallel norms (x1, weight1) and returned dropout masks go to the original everywhere.
    """
    signature = inspect.signature(original)
    rms = "is_rms_norm" not in signature.parameters

    @functools.wraps(original)
    def norm_fn(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        if given["x"].is_cuda or any(_is_asked(given[name]) for name in _UNSERVED):
            return original(*args, **kwargs)
        served = {name: value for name, value in given.items() if name not in _UNSERVED}
        return normed(**{"is_rms_norm": rms, **served})

    return norm_fn


def _is_asked(value: Tensor | bool | None) -> bool:
    return value is not None and value is not False


def normed(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    eps: float,
    dropout_p: float,
    rowscale: Tensor | None,
    prenorm: bool,
    residual_in_fp32: bool,
    is_rms_norm: bool,
) -> Tensor | tuple[Tensor, Tensor]:
    """Scale rows, drop out, add the residual and norm, in float32.

    Returns:
        The normed sum in x's dtype; with `prenorm` also the sum, in the residual's dtype.
    """
    total = x.float() if x.dtype != torch.float64 else x
    if rowscale is not None:
        total = total * rowscale[..., None]
    total = F.dropout(total, dropout_p)
    if residual is not None:
        total = total + residual
    wide = weight.to(total.dtype), None if bias is None else bias.to(total.dtype)
    if is_rms_norm:
        out = F.rms_norm(total, total.shape[-1:], wide[0], eps)
        out = out if wide[1] is None else out + wide[1]
    else:
        out = F.layer_norm(total, total.shape[-1:], *wide, eps)
    out = out.to(x.dtype)
    if not prenorm:
        return out
    kept = residual.dtype if residual is not None else None
    return out, total.to(kept or (torch.float32 if residual_in_fp32 else x.dtype))
