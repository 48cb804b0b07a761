"""Point clouds of equal size with labels, in memory.

N clouds   P points per cloud   D coordinates
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset


class PointClouds(InMemoryDataset):
    """A torch_geometric data set of Data(pos=(P, D), y=(1,) int64).

    Args:
        pos: (N, P, D) clouds, N at least 1.
        y: (N,) int64 classes.
        classes: their names.
        transform: applied to each item on access.
        pre_transform: applied to each item once, when the data set is created.
    """

    def __init__(
        self,
        pos: Tensor,
        y: Tensor,
        classes: Sequence[str],
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
    ) -> None:
        super().__init__(None, transform, pre_transform)
        self.classes = list(classes)
        items = [Data(pos=one, y=label) for one, label in zip(pos, y[:, None], strict=True)]
        if pre_transform is not None:
            items = [pre_transform(item) for item in items]
        self.data, self.slices = self.collate(items)

    @property
    def num_classes(self) -> int:
        """Number of classes, also if a subset lacks some."""
        return len(self.classes)
