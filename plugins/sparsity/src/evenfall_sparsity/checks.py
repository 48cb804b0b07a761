"""Checks of models and of patterns of names, which pruning, compressing and measuring share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from evenfall.counting import without_wrappers
from evenfall.errors import shorten
from evenfall_kernels import StoredMatrix

_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def bare_model(model: Any) -> nn.Module:
    """The model without its wrappers.

    Raises:
        TypeError: it is not a module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got a {type(model).__name__}")
    bare: nn.Module = without_wrappers(model)
    return bare


def check_original(model: nn.Module) -> None:
    """Raise ValueError if the model is compressed, quantised, or not initialised yet."""
    lazy = [name for name, weight in model.named_parameters() if is_lazy(weight)]
    if lazy:
        raise ValueError(f"model has no shapes of {lazy[:3]} yet; call it with a batch first")
    config = getattr(model, "config", None)
    if getattr(config, "quantization_config", None) is not None or any(
        isinstance(module, StoredMatrix) for module in model.modules()
    ):
        raise ValueError("model is compressed or quantised already; take the original model")


def check_weight(name: str, weight: Tensor) -> None:
    """Raise ValueError unless the weight is dense, of floating point, and finite."""
    if is_traceable_wrapper_subclass(weight):
        raise ValueError(
            f"{name} must be an ordinary tensor, but it is a {type(weight).__name__}: quantised, "
            "or shared among ranks"
        )
    if weight.is_meta or weight.layout != torch.strided or weight.dtype not in _DTYPES:
        kind = "on the meta device" if weight.is_meta else f"{weight.layout} of {weight.dtype}"
        raise ValueError(
            f"{name} must be a dense floating point tensor of 16 bits or more, but it is {kind}"
        )
    if not bool(torch.isfinite(weight.detach()).all()):
        raise ValueError(f"{name} contains NaN or infinite weights")


def read_patterns(argument: str, value: str | Sequence[str] | None) -> list[str] | None:
    """Patterns of names, as in a shell; None for None.

    Raises:
        ValueError: the value is neither text nor a list of texts.
    """
    if value is None:
        return None
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list | tuple) or not all(isinstance(p, str) for p in patterns):
        raise ValueError(f"{argument} must be patterns of parameter names, got {shorten(value)}")
    return list(patterns)


def matches(names: Iterable[str], patterns: Iterable[str]) -> bool:
    """Whether any of the names matches any of the patterns."""
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
