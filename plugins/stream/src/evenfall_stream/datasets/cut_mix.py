"""CutMix of recordings: a stretch of time of one is replaced by the same stretch of another."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.data import Data, Dataset

from ..transforms.events import chance, checked_chance, events_of, order_by_time, uniform


class CutMix(Dataset):
    r"""A data set of recordings, some of them mixed from two, with soft labels.

    With chance p, the events of item i in a stretch of its time are replaced by those that another
    item j, drawn from all, has in the same stretch of its own:

    .. math::
        y = \lambda \, \mathrm{onehot}(y_i) + (1 - \lambda) \, \mathrm{onehot}(y_j),
        \qquad \lambda = n_i / (n_i + n_j)

    where :math:`n_i` events stay and :math:`n_j` come in. The stretch has a share
    :math:`s \sim U(0, 1)` of the duration of i and starts anywhere that it fits. If no event is
    left, the result is item i as it was.

    Items are Data(x, pos, y=(1, classes) float32); a DataLoader makes y (B, classes), which
    `torch.nn.CrossEntropyLoss` takes as it is. Attributes beside x, pos and y are left out.

    Args:
        dataset: of events, Data(x=(N, 1), pos=(N, 1 + k), y=(1,) class), in the order of time.
        num_classes: None for dataset.num_classes.
        p: the chance that an item is mixed.
        transform: applied to each item after that.

    Raises:
        ValueError: p outside 0 to 1, num_classes below 1; when read: an item whose class is not
            below num_classes, or two whose sensors have different dimensions.

    Source: Yun et al., CutMix, https://arxiv.org/abs/1905.04899; for events, Event-SSM,
    https://arxiv.org/abs/2404.18508.
    """

    def __init__(
        self,
        dataset: Dataset,
        num_classes: int | None = None,
        p: float = 0.5,
        transform: Callable[[Data], Data] | None = None,
    ) -> None:
        super().__init__(None, transform)
        classes = dataset.num_classes if num_classes is None else num_classes
        if classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {classes}")
        self.dataset, self.p, self._classes = dataset, checked_chance(p), int(classes)

    @property
    def num_classes(self) -> int:
        """The length of a label."""
        return self._classes

    def len(self) -> int:
        """As many as the data set that is mixed."""
        return len(self.dataset)

    def get(self, idx: int) -> Data:
        """The item, mixed or not, before `transform`."""
        item = self.dataset[idx]
        events_of(item, type(self).__name__)
        if not chance(self.p):
            return Data(x=item.x, pos=item.pos, y=self._soft(item))
        other = self.dataset[int(torch.randint(len(self.dataset), ()))]
        return self._mixed(item, other)

    def _mixed(self, item: Data, other: Data) -> Data:
        events_of(other, type(self).__name__, item.pos.shape[1] - 1)
        duration = float(item.pos[-1, 0] - item.pos[0, 0]) if len(item.pos) else 0.0
        length = uniform(0, 1) * duration
        start = uniform(0, duration - length)
        stay = ~_within(item.pos, start, length)
        come = _within(other.pos, start, length)
        staying, coming = int(stay.sum()), int(come.sum())
        if not staying + coming:
            return Data(x=item.x, pos=item.pos, y=self._soft(item))
        share = staying / (staying + coming)
        moved = other.pos[come].clone()
        if coming and len(item.pos):
            moved[:, 0] += item.pos[0, 0] - other.pos[0, 0]
        return order_by_time(
            Data(
                x=torch.cat([item.x[stay], other.x[come]]),
                pos=torch.cat([item.pos[stay], moved]),
                y=share * self._soft(item) + (1 - share) * self._soft(other),
            )
        )

    def _soft(self, item: Data) -> Tensor:
        label = int(item.y)
        if not 0 <= label < self._classes:
            raise ValueError(f"y must lie in 0 to {self._classes - 1}, got {label}")
        return torch.nn.functional.one_hot(torch.tensor([label]), self._classes).float()


def _within(pos: Tensor, start: float, length: float) -> Tensor:
    """(N,) which events lie in the stretch, counted from the first one."""
    since = pos[:, 0] - pos[:1, 0]
    return (since >= start) & (since <= start + length)
