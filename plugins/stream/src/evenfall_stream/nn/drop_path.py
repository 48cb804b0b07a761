"""Stochastic depth: drop a residual branch at random in training."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    r"""Zero each row with probability p, and scale the others so that the mean stays.

    .. math:: y_i = \frac{b_i}{1 - p} x_i, \qquad b_i \sim \mathrm{Bernoulli}(1 - p)

    with one draw for each entry of the first dimension. The identity in evaluation mode. Draws the
    same numbers as timm's `DropPath`, which it replaces.

    Args:
        p: probability of zeroing a row, at least 0 and below 1.

    Shapes:
        - **input:** (B, \*)
        - **output:** (B, \*)

    Source: Huang et al., Deep Networks with Stochastic Depth, https://arxiv.org/abs/1603.09382.
    """

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(B, *) -> (B, *)."""
        if self.p == 0 or not self.training:
            return x
        shape = (x.shape[0], *(1,) * (x.dim() - 1))
        return x * x.new_empty(shape).bernoulli_(1 - self.p).div_(1 - self.p)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"
