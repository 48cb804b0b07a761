"""Clouds centred and scaled to the unit sphere."""

from __future__ import annotations

from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .reading import positions, refuse_batch


def unit_sphere(pos: Tensor) -> Tensor:
    """Clouds (..., P, D) with centroid 0 and farthest point at distance 1.

    A cloud whose points all lie at one place becomes zeros; an empty one stays empty.
    """
    if not pos.numel():
        return pos
    # Counted from a point of the cloud, coincident points stay exactly so, and far clouds exact.
    shifted = pos - pos[..., :1, :]
    centred = shifted - shifted.mean(-2, keepdim=True)
    radius = centred.square().sum(-1, keepdim=True).amax(-2, keepdim=True).sqrt()
    return centred / radius.masked_fill(radius == 0, 1.0)


@functional_transform("normalize_sphere")
class NormalizeSphere(BaseTransform):
    r"""Centre a cloud at its centroid and scale it to the unit sphere.

    .. math:: x_i \leftarrow \frac{x_i - \bar x}{\max_j \lVert x_j - \bar x \rVert}

    torch_geometric's `NormalizeScale` fits a cloud into the box (-1, 1) instead. Takes and returns
    Data with pos (N, D); a cloud whose points all lie at one place becomes zeros.

    Raises:
        TypeError: the data is a Batch already, or its pos not floating point.
        ValueError: the data has no finite pos.
    """

    def forward(self, data: Data) -> Data:
        """Data with the new pos."""
        refuse_batch(data, type(self).__name__)
        data.pos = unit_sphere(positions(data, type(self).__name__))
        return data
