"""A tensor that is derived from weights and made again when they change."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

try:
    from evenfall_kernels.cpu.checksum import checksum
except ImportError:  # a published folder without the kernels, which keeps no copies
    checksum = None  # type: ignore[assignment]

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # NumPy has no bfloat16


class _Saved(NamedTuple):
    weights: tuple[torch.Tensor, ...]
    places: list[tuple[int, int]]  # address and version of each weight
    samples: list[Any]  # views of a few elements of each weight
    values: list[bytes]  # of the samples
    checksum: int
    made: torch.Tensor


class WeightCopy:
    """What `make(*weights)` returns, kept until a weight changes.

    PyTorch counts most changes of a weight, but not those through `weight.data`, as peft makes when
    it merges an adapter. `get` compares identity, address, version and some elements of each
    weight, in a microsecond; `forget_changed` compares all elements.

    A copied or unpickled WeightCopy is empty.
    """

    def __init__(self, make: Callable[..., torch.Tensor]) -> None:
        self._make = make
        self._saved: _Saved | None = None

    def get(self, *weights: torch.Tensor) -> torch.Tensor:
        """The tensor made of these weights."""
        saved = self._saved
        if saved is not None and _is_unchanged(saved, weights):
            return saved.made
        detached = [weight.detach() for weight in weights]
        samples = [_samples(weight) for weight in detached]
        values = [sample.tobytes() for sample in samples]
        with torch.no_grad():
            made = self._make(*detached)
        places = [_place(weight) for weight in weights]
        digest = checksum(*detached) if checksum is not None else 0
        self._saved = _Saved(weights, places, samples, values, digest, made)
        return made

    def forget(self) -> None:
        """Make it again in the next call of `get`."""
        self._saved = None

    def forget_changed(self) -> None:
        """`forget`, if any element of a weight has changed."""
        saved = self._saved
        if saved is not None and (
            checksum is None
            or [_place(weight) for weight in saved.weights] != saved.places
            or checksum(*(weight.detach() for weight in saved.weights)) != saved.checksum
        ):
            self._saved = None

    def __deepcopy__(self, memo: dict[int, Any]) -> WeightCopy:
        return WeightCopy(self._make)

    def __reduce__(self) -> Any:
        return WeightCopy, (self._make,)


def _is_unchanged(saved: _Saved, weights: tuple[torch.Tensor, ...]) -> bool:
    for weight, former, place, samples, values in zip(
        weights, saved.weights, saved.places, saved.samples, saved.values, strict=True
    ):
        if weight is not former or _place(weight) != place or samples.tobytes() != values:
            return False
    return True


def _place(weight: torch.Tensor) -> tuple[int, int]:
    return weight.data_ptr(), 0 if weight.is_inference() else weight._version


def _samples(weight: torch.Tensor) -> Any:
    """A view of at most 32 elements of the diagonal, as a NumPy array: it is read in 1 us."""
    diagonal = weight.diagonal()
    samples = diagonal[:: max(1, math.ceil(len(diagonal) / 32))]
    return samples.view(_INTEGERS[samples.element_size()]).numpy()


__all__ = ["WeightCopy"]
