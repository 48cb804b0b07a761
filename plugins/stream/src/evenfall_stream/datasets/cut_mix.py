"""CutMix of recordings: replace a time window of one by the same window of another."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.data import Data, Dataset

from ..transforms.events import bernoulli, check_probability, events_of, order_by_time, uniform


class CutMix(Dataset):
    r"""A data set of recordings with soft labels, some of them mixed from two recordings.

    With probability p, the events of item i in a time window are replaced by the events of a random
    item j in the same window:

    .. math::
        y = \lambda \, \mathrm{onehot}(y_i) + (1 - \lambda) \, \mathrm{onehot}(y_j),
        \qquad \lambda = n_i / (n_i + n_j)

    where :math:`n_i` events of i and :math:`n_j` events of j are in the result. The window covers a
    fraction :math:`s \sim U(0, 1)` of the duration of i and has a random start. If the result would
    be empty, it is item i instead.

    Items are Data(x, pos, y=(1, classes) float32); a DataLoader makes y (B, classes), which
    `torch.nn.CrossEntropyLoss` takes. Attributes other than x, pos and y are dropped.

    Args:
        dataset: of events, Data(x=(N, 1), pos=(N, 1 + k), y=(1,) class), sorted by time.
        num_classes: number of classes; None for dataset.num_classes.
        p: probability that an item is mixed.
        transform: applied to each item after mixing.

    Raises:
        ValueError: p is not between 0 and 1, or num_classes is below 1; on access: the class of an
            item is not below num_classes, or the sensors of two items differ in dimension.

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
        self.dataset, self.p, self._classes = dataset, check_probability(p), int(classes)

    @property
    def num_classes(self) -> int:
        """The length of a label."""
        return self._classes

    def len(self) -> int:
        """The length of the original data set."""
        return len(self.dataset)

    def get(self, idx: int) -> Data:
        """The item, mixed or not, before `transform`."""
        item = self.dataset[idx]
        events_of(item, type(self).__name__)
        if not bernoulli(self.p):
            return Data(x=item.x, pos=item.pos, y=self._soft(item))
        other = self.dataset[int(torch.randint(len(self.dataset), ()))]
        return self._mix(item, other)

    def _mix(self, item: Data, other: Data) -> Data:
        events_of(other, type(self).__name__, item.pos.shape[1] - 1)
        duration = float(item.pos[-1, 0] - item.pos[0, 0]) if len(item.pos) else 0.0
        length = uniform(0, 1) * duration
        start = uniform(0, duration - length)
        outside = ~_in_window(item.pos, start, length)
        inside = _in_window(other.pos, start, length)
        own_count, other_count = int(outside.sum()), int(inside.sum())
        if not own_count + other_count:
            return Data(x=item.x, pos=item.pos, y=self._soft(item))
        share = own_count / (own_count + other_count)
        insert = other.pos[inside].clone()
        if other_count and len(item.pos):
            insert[:, 0] += item.pos[0, 0] - other.pos[0, 0]
        return order_by_time(
            Data(
                x=torch.cat([item.x[outside], other.x[inside]]),
                pos=torch.cat([item.pos[outside], insert]),
                y=share * self._soft(item) + (1 - share) * self._soft(other),
            )
        )

    def _soft(self, item: Data) -> Tensor:
        label = int(item.y)
        if not 0 <= label < self._classes:
            raise ValueError(f"y must be between 0 and {self._classes - 1}, got {label}")
        return torch.nn.functional.one_hot(torch.tensor([label]), self._classes).float()


def _in_window(pos: Tensor, start: float, length: float) -> Tensor:
    """Which events are in the window, (N,) bool; times count from the first event."""
    since = pos[:, 0] - pos[:1, 0]
    return (since >= start) & (since <= start + length)
