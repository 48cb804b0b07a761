"""A penalty on the norms of blocks, which pulls whole blocks to zero."""

from __future__ import annotations

from typing import Any

import torch

from ..pruning.targets import Target


@torch.no_grad()
def shrink_blocks(target: Target, amount: float) -> None:
    r"""The proximal step of the group lasso: each block b loses `amount` of its norm.

    .. math:: w_b \leftarrow w_b \max\left(0, 1 - \frac{amount}{\lVert w_b \rVert}\right)

    Args:
        target: the matrix.
        amount: learning rate times strength of the penalty.

    Source: Yuan and Lin 2006, Model selection and estimation in regression with grouped variables.
    """
    norms = target.grid.norms(target.weight)
    factors = (1 - amount / norms.clamp(min=torch.finfo(norms.dtype).tiny)).clamp(min=0)
    target.weight.mul_(target.grid.spread(factors).to(target.weight))


def learning_rate(optimizer: Any, target: Target) -> float:
    """The optimiser's learning rate for a matrix.

    Raises:
        ValueError: there is no optimiser, or it does not train the matrix.
    """
    for group in [] if optimizer is None else optimizer.param_groups:
        if any(weight is target.weight for weight in group["params"]):
            return float(group["lr"])
    raise ValueError(
        f"step needs the optimizer that trains {target.name}, whose learning rate is used, got "
        f"{'None' if optimizer is None else 'one that does not train it'}"
    )
