"""Random scaling of each axis."""

from __future__ import annotations

from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .reading import positions


@functional_transform("random_anisotropic_scale")
class RandomAnisotropicScale(BaseTransform):
    r"""Scale each axis of a cloud by its own random factor.

    .. math:: x_{i,a} \leftarrow s_a x_{i,a}, \qquad s_a \sim U(\mathrm{low}, \mathrm{high})

    torch_geometric's `RandomScale` scales all axes by one factor. Takes and returns Data with pos
    (N, D); draws from torch's generator.

    Args:
        low: the smallest factor, above 0.
        high: the largest factor.

    Raises:
        TypeError: pos is not floating point.
        ValueError: not 0 < low <= high; pos is missing or not finite.

    Source: the augmentation of PointMamba, https://arxiv.org/abs/2402.10739.
    """

    def __init__(self, low: float = 2 / 3, high: float = 3 / 2) -> None:
        if not 0 < low <= high:
            raise ValueError(f"factors must be 0 < low <= high, got low {low}, high {high}")
        self.low = low
        self.high = high

    def forward(self, data: Data) -> Data:
        """The data with the new pos."""
        pos = positions(data, type(self).__name__)
        data.pos = pos * pos.new_empty(pos.shape[1]).uniform_(self.low, self.high)
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.low:.4g}, {self.high:.4g})"
