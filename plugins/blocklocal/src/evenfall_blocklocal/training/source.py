"""What a run reads: batches for a model, by split.

B samples, T tokens of a window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

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
    """

    sizes: dict[str, int]
    outputs: int
    metric: Metric = "accuracy"
    shape: tuple[int, ...] | None = field(default=None)

    @abstractmethod
    def batch(self, part: Part, rows: Tensor) -> Batch:
        """The samples of these numbers."""

    def example(self) -> Any:
        """Arguments of a small call, to split the model; None if its splitter knows one."""
        return None

    def limit(self, train: int | None, test: int | None) -> None:
        """Use only the first samples of each part."""
        for part, most in (("train", train), ("test", test)):
            if most is not None:
                self.sizes[part] = min(self.sizes[part], most)
