"""Run a layer in plain PyTorch. In Evenfall, this module chooses a kernel backend.

The reference reads every weight, also with `event_driven`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .checks import check_bounds  # type: ignore[import-not-found]  # is in the published folder
from .packing import Packed, Padded  # type: ignore[import-not-found]
from .reference import layer  # type: ignore[import-not-found]


def layout_of(x: Tensor, cu_seqlens: Tensor | None, variant: str) -> Any:
    """How the rows of x (B, T, I) are sorted."""
    if cu_seqlens is None:
        return Padded(*x.shape[:2])
    check_bounds(cu_seqlens, x.shape[1])
    return Packed(cu_seqlens)


def run_layer(
    x: Tensor, kernel: Tensor, bias: Tensor, recurrent: tuple[Any, ...], layout: Any, variant: str,
    event_driven: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """y, c and the last h of a packed layer."""
    every = *recurrent[:7], layout.batch_sizes, *recurrent[7:]
    return layer(x, kernel, bias, every, variant)
