"""Random translation of a cloud."""

from __future__ import annotations

from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .reading import positions


@functional_transform("random_shift")
class RandomShift(BaseTransform):
    r"""Shift the whole cloud along each axis by its own random amount.

    .. math:: x_{i,a} \leftarrow x_{i,a} + t_a, \qquad t_a \sim U(-\mathrm{most}, \mathrm{most})

    torch_geometric's `RandomJitter` shifts each point separately. Takes and returns Data with pos
    (N, D); draws from torch's generator.

    Args:
        most: the largest shift, not negative, in the unit of pos.

    Raises:
        TypeError: pos is not floating point.
        ValueError: most is negative; pos is missing or not finite.

    Source: the augmentation of PointMamba, https://arxiv.org/abs/2402.10739.
    """

    def __init__(self, most: float = 0.2) -> None:
        if not most >= 0:
            raise ValueError(f"most must not be negative, got {most}")
        self.most = most

    def forward(self, data: Data) -> Data:
        """The data with the new pos."""
        pos = positions(data, type(self).__name__)
        data.pos = pos + pos.new_empty(pos.shape[1]).uniform_(-self.most, self.most)
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.most})"
