"""Run a layer in plain PyTorch. In Evenfall, this module chooses a kernel backend.

The reference reads every weight, also with `event_driven`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .reference import layer  # type: ignore[import-not-found]  # is in the published folder


def run_layer(
    x: Tensor, kernel: Tensor, bias: Tensor, recurrent: tuple[Any, ...], variant: str,
    event_driven: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """y, c and the last h of a packed layer."""
    return layer(x, kernel, bias, recurrent, variant)
