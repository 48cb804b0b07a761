"""Stands for the choice of a kernel backend where Evenfall is not installed: plain PyTorch.

The reference reads every weight, whether or not `event_driven` is asked for.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from .reference import scan


def run(
    arguments: tuple[Any, ...], variant: str, event_driven: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """y, c and the last h of a packed scan."""
    gates_x, recurrent_kernel, *rest = arguments
    return scan(gates_x, recurrent_kernel.to(gates_x.dtype), *rest, variant)


def input_product(x: Tensor, kernel: Tensor, bias: Tensor, event_driven: bool) -> Tensor:
    """x kernel + bias: (N, I), (I, O), (O,) -> (N, O)."""
    return F.linear(x, kernel.t(), bias)
