"""Centring a cloud and scaling it to the unit sphere."""

from __future__ import annotations

from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .reading import positions, refuse_batch


def unit_sphere(pos: Tensor) -> Tensor:
    """Clouds (..., P, D) with centroid 0 and the farthest point at distance 1.

    A cloud of coincident points becomes zeros; an empty one stays empty.
    """
    if not pos.numel():
        return pos
    # Relative to one of its points, a far cloud keeps its precision, and equal points stay equal.
    shifted = pos - pos[..., :1, :]
    centred = shifted - shifted.mean(-2, keepdim=True)
    radius = centred.square().sum(-1, keepdim=True).amax(-2, keepdim=True).sqrt()
    return centred / radius.masked_fill(radius == 0, 1.0)


@functional_transform("normalize_sphere")
class NormalizeSphere(BaseTransform):
    r"""Centre a cloud at its centroid and scale it to the unit sphere.

    .. math:: x_i \leftarrow \frac{x_i - \bar x}{\max_j \lVert x_j - \bar x \rVert}

    torch_geometric's `NormalizeScale` fits a cloud into the box (-1, 1) instead. Takes and returns
    Data with pos (N, D); a cloud of coincident points becomes zeros.

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: pos is missing or not finite.
    """

    def forward(self, data: Data) -> Data:
        """The data with the new pos."""
        refuse_batch(data, type(self).__name__)
        data.pos = unit_sphere(positions(data, type(self).__name__))
        return data
