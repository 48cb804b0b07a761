"""Inputs for the tests of selective_scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Make = Callable[[torch.dtype, str], dict[str, Any]]


def case(
    batch: int = 1,
    channels: int = 5,
    length: int = 1,
    states: int = 4,
    groups: int | None = None,
    gate: bool = True,
    step: bool | str = False,
    ends: list[int] | None = None,
    **options: Any,
) -> Make:
    """A function that makes keyword arguments; delta is about 0.3 after bias and softplus.

    `step="free"` makes a step of each channel.
    """

    def make(dtype: torch.dtype, device: str) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(batch * 1000 + length + channels)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator)

        sequences = batch if ends is None else len(ends) - 1
        group_shape = (batch, states, length) if groups is None else (batch, groups, states, length)
        inputs: dict[str, Any] = {
            "u": normal(batch, channels, length), "delta": normal(batch, channels, length) * 0.5,
            "A": -4 * torch.rand(channels, states, generator=generator), "B": normal(*group_shape),
            "C": normal(*group_shape), "D": normal(channels), "delta_bias": normal(channels) - 1,
            "initial_state": normal(sequences, channels, states),
        }  # fmt: skip
        if gate:
            inputs["z"] = normal(batch, channels, length)
        if step:
            shape = (batch, channels, length) if step == "free" else (batch, length)
            inputs["step"] = torch.rand(shape, generator=generator)
            inputs["step_scale"] = torch.rand(channels, generator=generator) + 0.3
        if not options.get("delta_softplus", True):  # a negative step would make the state grow
            inputs["delta"], inputs["delta_bias"] = (
                inputs["delta"].abs(),
                inputs["delta_bias"].abs(),
            )
        inputs = {name: t.to(device, dtype) for name, t in inputs.items()}
        if ends is not None:
            inputs["cu_seqlens"] = torch.tensor(ends, device=device)
        return {"delta_softplus": True, **inputs, **options}

    return make


CASES: dict[str, Make] = {
    "one step": case(batch=3),
    "63": case(batch=2, channels=17, length=63),
    "100": case(channels=33, length=100, states=16),
    "one state": case(channels=16, length=40, states=1),
    "17 states": case(channels=3, length=33, states=17),
    "groups": case(batch=2, channels=36, length=32, groups=3),
    "plain": case(batch=2, length=20, gate=False, delta_softplus=False),
    "step": case(batch=2, channels=18, length=50, step=True),
    "zoh": case(batch=2, length=35, discretization="zoh"),
    "zoh, step": case(length=35, step=True, discretization="zoh"),
    "dirac": case(length=35, discretization="dirac"),
    "dirac, step": case(batch=2, length=35, step=True, discretization="dirac"),
    "async": case(length=35, step=True, discretization="async"),
    "bilinear": case(batch=2, channels=18, length=35, discretization="bilinear"),
    "bilinear, step": case(length=35, step=True, discretization="bilinear"),
    "free step": case(batch=2, channels=18, length=35, step="free"),
    "free step, dirac": case(length=35, step="free", discretization="dirac"),
    "free step, async, packed": case(
        length=40, step="free", ends=[0, 33, 40], discretization="async"
    ),
    "packed": case(channels=17, length=80, ends=[0, 7, 7, 8, 71, 80]),
    "packed, step": case(length=40, step=True, ends=[0, 33, 40], discretization="zoh"),
}
LONG: dict[str, Make] = {"2047": case(channels=2, length=2047), "300 states": case(states=300)}
EMPTY: dict[str, Make] = {
    "no step": case(batch=2, length=0),
    "no sequence": case(batch=0, length=4),
    "no channel": case(channels=0, length=4),
    "packed, all empty": case(length=0, ends=[0, 0, 0]),
    "packed, none": case(length=0, ends=[0]),
}
