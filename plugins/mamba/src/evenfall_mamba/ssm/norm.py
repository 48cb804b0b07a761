"""mamba_ssm's fused norms in plain PyTorch, for devices on which its Triton kernels do not run."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_UNSUPPORTED = ("x1", "weight1", "bias1", "return_dropout_mask")


def on_any_device(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `layer_norm_fn` or `rms_norm_fn`: the original on CUDA, plain PyTorch elsewhere.

    Calls with parallel norms (x1, weight1) or a returned dropout mask always use the original.
    """
    signature = inspect.signature(original)
    rms = "is_rms_norm" not in signature.parameters

    @functools.wraps(original)
    def norm_fn(*args: Any, **kwargs: Any) -> Any:
        binding = signature.bind(*args, **kwargs)
        binding.apply_defaults()
        arguments = binding.arguments
        if arguments["x"].is_cuda or any(_is_set(arguments[name]) for name in _UNSUPPORTED):
            return original(*args, **kwargs)
        supported = {name: value for name, value in arguments.items() if name not in _UNSUPPORTED}
        return add_and_norm(**{"is_rms_norm": rms, **supported})

    return norm_fn


def _is_set(value: Tensor | bool | None) -> bool:
    return value is not None and value is not False


def add_and_norm(
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
    """Scale rows, apply dropout, add the residual and normalise, in float32.

    Returns:
        The normalised sum in x's dtype; with `prenorm` also the sum, in the residual's dtype.
    """
    total = x.float() if x.dtype != torch.float64 else x
    if rowscale is not None:
        total = total * rowscale[..., None]
    total = F.dropout(total, dropout_p)
    if residual is not None:
        total = total + residual
    weight = weight.to(total.dtype)
    bias = None if bias is None else bias.to(total.dtype)
    if is_rms_norm:
        out = F.rms_norm(total, total.shape[-1:], weight, eps)
        out = out if bias is None else out + bias
    else:
        out = F.layer_norm(total, total.shape[-1:], weight, bias, eps)
    out = out.to(x.dtype)
    if not prenorm:
        return out
    if residual is not None:
        return out, total.to(residual.dtype)
    return out, total.to(torch.float32 if residual_in_fp32 else x.dtype)
