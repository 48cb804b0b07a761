"""Mixers of transformers whose `conv1d` or `dt_proj` has an adapter or a hook.

The mixers read the weights of these two layers, with the patch or without, so an adapter such as
LoRA would have no effect and get no gradient. While a mixer runs, the convolution and the scan call
the layer instead.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from ..ssm.called import calling, is_plain


class _Unity:
    """Multiplied by a tensor, it gives that tensor."""

    def __matmul__(self, other: Any) -> Any:
        return other


def calls_adapted_layers(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the forward of a mixer."""

    @functools.wraps(forward)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        convolution, delta = (
            adapted_layer(self.conv1d),
            adapted_layer(getattr(self, "dt_proj", None)),
        )
        if convolution is None and delta is None:
            return forward(self, *args, **kwargs)
        if hasattr(self, "dt_layernorm") and hasattr(self.config, "_is_quantized"):
            delta = None  # such a mixer calls the layer itself
        mixer = self
        if delta is not None:
            mixer = copy.copy(self)
            # Its product is the input of the layer, which the scan calls, bias included.
            nothing = SimpleNamespace(weight=_Unity(), bias=torch.zeros_like(self.D))
            vars(mixer)["dt_proj"] = nothing
        with calling(convolution, delta):
            return forward(mixer, *args, **kwargs)

    return wrapper


def adapted_layer(layer: Any) -> Any:
    """The layer if it must be called. A hook of accelerate, which places it, does not count."""
    return None if layer is None or is_plain(layer) or hasattr(layer, "_hf_hook") else layer
