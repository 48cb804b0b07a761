"""CutMix: labels equal the shares of events, times stay sorted, batches work."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_geometric.data import Data, Dataset
from torch_geometric.loader import DataLoader

from evenfall_stream.datasets import CutMix


class Recordings(Dataset):
    """Recordings of two classes: an event's polarity is the class of the recording it is from."""

    num_classes = 2

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.items = []
        for i, size in enumerate(sizes):
            time = torch.arange(size) * (5.0 + i)
            pos = torch.stack([time, torch.full((size,), float(i)), torch.zeros(size)], 1)
            label = i % 2
            self.items.append(
                Data(x=torch.full((size, 1), float(label)), pos=pos, y=torch.tensor([label]))
            )

    def len(self) -> int:
        return len(self.items)

    def get(self, idx: int) -> Data:
        return self.items[idx]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.integers(0, 10**6))
def test_labels_are_the_shares_of_the_events(sizes: list[int], seed: int) -> None:
    mixed = CutMix(Recordings(sizes), p=1.0)
    torch.manual_seed(seed)
    first = mixed[0]
    assert first.y.shape == (1, 2)
    assert first.y.dtype == torch.float32
    assert float(first.y.sum()) == pytest.approx(1)
    if len(first.pos):
        assert float(first.y[0, 1]) == pytest.approx(float(first.x.mean()), abs=1e-6)
    assert bool((first.pos[:, 0].diff() >= 0).all())
    torch.manual_seed(seed)
    assert torch.equal(mixed[0].pos, first.pos)


def test_what_comes_in_has_the_times_of_what_goes() -> None:
    torch.manual_seed(0)
    mixes = 0
    mixed = CutMix(Recordings([40, 40]), p=1.0)
    for _ in range(30):
        out = mixed[0]
        own = out.pos[:, 1] == 0
        if own.all() or not own.any():
            continue
        mixes += 1
        first, last = (~own).nonzero()[[0, -1], 0].tolist()
        assert bool((~own[first : last + 1]).all())
        assert set(out.pos[own, 0].tolist()) <= set((torch.arange(40) * 5.0).tolist())
    assert mixes > 5


def test_without_mixing_labels_are_soft_all_the_same() -> None:
    source = Recordings([5, 6])
    out = CutMix(source, p=0.0)[1]
    assert out.y.tolist() == [[0.0, 1.0]]
    assert torch.equal(out.pos, source[1].pos)


def test_batches_train_with_cross_entropy() -> None:
    batch = next(iter(DataLoader(CutMix(Recordings([9, 9, 9, 9]), num_classes=3), batch_size=4)))
    assert batch.y.shape == (4, 3)
    assert batch.num_graphs == 4
    loss = nn.CrossEntropyLoss()(torch.zeros(4, 3), batch.y)
    assert float(loss) == pytest.approx(torch.tensor(3.0).log().item())


def test_refused() -> None:
    with pytest.raises(ValueError, match="p must be between 0 and 1, got 2"):
        CutMix(Recordings([3]), p=2)
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        CutMix(Recordings([3]), num_classes=0)
    with pytest.raises(ValueError, match="y must be between 0 and 0, got 1"):
        CutMix(Recordings([3, 3]), num_classes=1, p=0.0)[1]
