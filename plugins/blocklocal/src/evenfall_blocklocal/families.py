r"""Exponential families with natural parameters: log-partition, scores of classes, agreement.

A block's output is read as a message :math:`\alpha` with natural parameters a, the feedback as a
message :math:`\beta_y` with natural parameters :math:`b_y` for each class y. With the log-partition
A, and up to terms without y,

.. math::
    s_y = \log \langle \alpha, \beta_y \rangle = \sum_j A(a_j + b_{yj}) - A(b_{yj})

is the log-likelihood of class y, and

.. math::
    J = -\log \langle \alpha, \beta \rangle = \sum_j A(a_j) + A(b_j) - A(a_j + b_j)

the agreement of both messages: its gradient in a is that of
:math:`KL(\mathrm{sg}\,\rho \,\|\, \alpha)` with the posterior :math:`\rho`, whose parameters are
a + b.

Dimensions: N rows, Y classes, D natural parameters.

Source: Kappel et al., "Block-local learning with probabilistic latent representations", arXiv
2305.14974; the normalisation over classes is Evenfall's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor


class Family(ABC):
    """One exponential family."""

    name: str

    @abstractmethod
    def log_partition(self, parameters: Tensor) -> Tensor:
        """A, summed over the last dimension."""

    def scores(self, a: Tensor, b: Tensor) -> Tensor:
        """s (N, Y) of a (N, D) and b (Y, D). Half precision is summed in float32."""
        a, b = _widen(a), _widen(b)
        return self.log_partition(a.unsqueeze(1) + b) - self.log_partition(b)

    def agreement(self, a: Tensor, b: Tensor) -> Tensor:
        """J (N,) of a and b (N, D). Half precision is summed in float32."""
        a, b = _widen(a), _widen(b)
        return self.log_partition(a) + self.log_partition(b) - self.log_partition(a + b)


class Bernoulli(Family):
    """D independent bits: A = softplus."""

    name = "bernoulli"

    def log_partition(self, parameters: Tensor) -> Tensor:
        return F.softplus(parameters).sum(-1)


class Categorical(Family):
    """D / `states` independent variables of `states` states each: A = logsumexp."""

    name = "categorical"

    def __init__(self, states: int = 8) -> None:
        if states < 2:
            raise ValueError(f"states must be at least 2, got {states}")
        self.states = states

    def log_partition(self, parameters: Tensor) -> Tensor:
        *rows, width = parameters.shape
        if width % self.states:
            raise ValueError(
                f"latent, or the pooled channels at head_depth=0, must be a multiple of the "
                f"{self.states} states of a categorical variable, got {width}"
            )
        groups = parameters.reshape(*rows, width // self.states, self.states)
        return groups.logsumexp(-1).sum(-1)


class Gaussian(Family):
    r"""D independent variables of unit variance with means a and b.

    .. math::
        s_y = (a \cdot b_y - \tfrac12 |b_y|^2) / \sqrt{D}

    up to terms without y: minus half the squared distance of the means. With a linear head these
    are the logits of a linear classifier. It is one matrix product for any number of classes.
    J = |a - b|^2 / 4.
    """

    name = "gaussian"

    def log_partition(self, parameters: Tensor) -> Tensor:
        return parameters.square().sum(-1) / 2

    def scores(self, a: Tensor, b: Tensor) -> Tensor:
        return F.linear(*self.linear(a, b))

    def linear(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Input, weight and bias of the linear layer that gives the scores: each operation on the
        scores themselves would read and write all N x Y of them."""
        scale = 1 / math.sqrt(a.shape[-1])
        return a * scale, b, b.square().sum(-1) * (-scale / 2)

    def agreement(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().sum(-1) / 4


def _widen(x: Tensor) -> Tensor:
    """Scores are small differences of large sums, which 16 bits do not resolve."""
    return x.float() if x.dtype.itemsize < 4 else x


FAMILIES: dict[str, type[Family]] = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "gaussian": Gaussian,
}
