"""A data set of a few small clouds, for recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def make_shapes() -> type[Any]:
    """The class of the data set; torch is imported only where a test asks for it."""
    torch = pytest.importorskip("torch")
    data = pytest.importorskip("torch_geometric.data")

    class Shapes(torch.utils.data.Dataset):
        """Clouds of 24 points on a segment (class 0) or in a ball (class 1)."""

        classes = ("segment", "ball")

        def __init__(
            self, path: Path, split: str = "train", count: int = 20, fold: int = 0
        ) -> None:
            if split not in ("train", "valid", "test"):
                raise ValueError(f"split must be train, valid or test, got {split!r}")
            seed = {"train": 0, "valid": 1, "test": 2}[split]
            generator = torch.Generator().manual_seed(seed if split == "test" else seed + 3 * fold)
            self.items = []
            for index in range(count):
                pos = torch.randn(24, 3, generator=generator) / 2
                pos[:, 1:] *= index % 2
                self.items.append(data.Data(pos=pos, y=torch.tensor([index % 2])))

        def __len__(self) -> int:
            return len(self.items)

        def __getitem__(self, index: int) -> Any:
            return self.items[index].clone()

    return Shapes


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """The data set, known to recipes as `shapes`."""
    pytest.importorskip("accelerate")
    pytest.importorskip("timm")
    from evenfall_stream.training import data

    dataset = make_shapes()
    monkeypatch.setattr(data, "DATASETS", dict(data.DATASETS))
    data.register_dataset("shapes", dataset)
    return dataset
