"""What a run reads: batches for a model, by split.

B samples, T tokens of a window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

Part = Literal["train", "test"]
Metric = Literal["accuracy", "perplexity"]


@dataclass(frozen=True)
class Batch:
    """Arguments of a model and the target of the call.

    Attributes:
        args, kwargs: of the model.
        target: (B,) classes, or (B, T + 1) tokens.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    target: Tensor


@dataclass
class Source(ABC):
    """Training and test samples of one data set.

    Attributes:
        sizes: samples of "train" and "test".
        outputs: number of classes or words.
        metric: what is measured.
        shape: (C, H, W) of images; None for other samples.
        device: of the batches.
    """

    sizes: dict[str, int]
    outputs: int
    metric: Metric = "accuracy"
    shape: tuple[int, ...] | None = field(default=None)
    device: torch.device = field(default=torch.device("cpu"))

    @abstractmethod
    def read(self, part: Part, rows: Tensor) -> Batch:
        """The samples of these numbers, in main memory."""

    def batch(self, part: Part, rows: Tensor) -> Batch:
        """The samples of these numbers, on the device."""
        read = self.read(part, rows)
        args, kwargs, target = tree_map_only(
            Tensor, lambda t: t.to(self.device), (read.args, read.kwargs, read.target)
        )
        return Batch(args, kwargs, target)

    def example(self) -> Any:
        """Arguments of a small call, to split the model; None if its splitter knows one."""
        return None

    def limit(self, train: int | None, test: int | None) -> None:
        """Use only the first samples of each part."""
        for part, most in (("train", train), ("test", test)):
            if most is not None:
                self.sizes[part] = min(self.sizes[part], most)
