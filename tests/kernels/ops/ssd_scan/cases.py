"""Inputs for the tests of ssd_scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Make = Callable[[torch.dtype, str], dict[str, Any]]


def case(
    batch: int = 1,
    length: int = 1,
    heads: int = 2,
    channels: int = 16,
    states: int = 4,
    groups: int = 1,
    gate: bool = False,
    wide_skip: bool = False,
    ends: list[int] | None = None,
    scale: float = 1.0,
    **options: Any,
) -> Make:
    """A function that makes keyword arguments; dt is about 0.3 after bias and softplus.

    `scale` multiplies A, whose values are down to -4.
    """

    def make(dtype: torch.dtype, device: str) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(batch * 1000 + length + channels)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator)

        sequences = batch if ends is None else len(ends) - 1
        skip = (heads, channels) if wide_skip else (heads,)
        inputs: dict[str, Any] = {
            "x": normal(batch, length, heads, channels),
            "dt": normal(batch, length, heads) * 0.5,
            "A": -4 * scale * torch.rand(heads, generator=generator),
            "B": normal(batch, length, groups, states), "C": normal(batch, length, groups, states),
            "D": normal(*skip), "dt_bias": normal(heads) - 1,
            "initial_state": normal(sequences, heads, channels, states),
        }  # fmt: skip
        if gate:
            inputs["z"] = normal(batch, length, heads, channels)
        inputs = {name: t.to(device, dtype) for name, t in inputs.items()}
        if ends is not None:
            inputs["cu_seqlens"] = torch.tensor(ends, device=device)
        return {"dt_softplus": True, **inputs, **options}

    return make


def without(make: Make, *names: str) -> Make:
    """The same case without these arguments."""

    def make_fewer(dtype: torch.dtype, device: str) -> dict[str, Any]:
        return {name: value for name, value in make(dtype, device).items() if name not in names}

    return make_fewer


CASES: dict[str, Make] = {
    "one step": case(batch=3, channels=5),
    "63": case(batch=2, length=63, gate=True),
    "100": case(length=100, states=16, heads=3),
    "130": case(batch=2, length=130, channels=32, states=8),
    "groups": case(batch=2, length=70, heads=6, groups=3, gate=True, wide_skip=True),
    "odd channels": case(batch=2, length=35, channels=17, states=5, groups=2, gate=True),
    "one state": case(length=20, states=1, heads=1),
    "limits": case(batch=2, length=40, dt_limit=(0.2, 0.5)),
    "plain": without(case(batch=2, length=40, dt_softplus=False), "D", "dt_bias", "initial_state"),
    "strong decay": case(length=90, scale=40.0),
    "no decay": case(length=90, scale=0.0),
    "packed": case(length=170, ends=[0, 7, 7, 8, 141, 170], gate=True),
    "packed, groups": case(length=80, heads=4, groups=2, ends=[0, 65, 80], channels=5),
}
LONG: dict[str, Make] = {"2047": case(length=2047, heads=1)}
EMPTY: dict[str, Make] = {
    "no step": case(batch=2, length=0),
    "no sequence": case(batch=0, length=4),
    "packed, all empty": case(length=0, ends=[0, 0, 0], gate=True),
    "packed, none": case(length=0, ends=[0]),
}
