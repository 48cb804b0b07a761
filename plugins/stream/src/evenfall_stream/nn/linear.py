"""Linear layers that may be replaced: by a quantised layer, or by one with an adapter."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor, nn


def linear(in_channels: int, out_channels: int, bias: bool) -> nn.Linear:
    """nn.Linear; -1 input channels are read from the first call, which makes it an nn.Linear.

    Raises:
        ValueError: in_channels is neither positive nor -1.
    """
    if in_channels > 0:
        return nn.Linear(in_channels, out_channels, bias)
    if in_channels != -1:
        raise ValueError(
            f"in_channels must be positive, or -1 to infer it from the first call, "
            f"got {in_channels}"
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Lazy modules are a new feature", UserWarning)
        return nn.LazyLinear(out_channels, bias)


def is_plain_linear(layer: Any) -> bool:
    """Whether `F.linear(x, layer.weight)` is what the layer computes, up to its bias.

    Layers that quantise or adapt their weight are called instead.
    """
    return type(layer) is nn.Linear and type(layer.weight) in (nn.Parameter, Tensor)
