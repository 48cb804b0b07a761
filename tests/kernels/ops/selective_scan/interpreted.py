"""Run in its own process with TRITON_INTERPRET=1: print the errors of Triton's selective_scan."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import torch
from cases import EMPTY, Make, case

from evenfall.testing.interpreted import largest_errors
from evenfall_kernels import selective_scan
from evenfall_kernels.ops.selective_scan import triton

triton._PROGRAMS = 1  # several channels per program, as with many channels


def without(make: Make, *names: str) -> Make:
    """The same case without these arguments."""

    def make_fewer(dtype: torch.dtype, device: str) -> dict[str, Any]:
        return {name: value for name, value in make(dtype, device).items() if name not in names}

    return make_fewer


def with_layout(make: Make, layout: Callable[[torch.Tensor], torch.Tensor], *names: str) -> Make:
    """The same case, with another memory layout of these tensors."""

    def make_layout(dtype: torch.dtype, device: str) -> dict[str, Any]:
        inputs = make(dtype, device)
        return inputs | {name: layout(inputs[name]) for name in names}

    return make_layout


def channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """Channels-last memory, the output of a linear layer."""
    return tensor.transpose(1, 2).contiguous().transpose(1, 2)


def half_of_wider(tensor: torch.Tensor) -> torch.Tensor:
    """Half of the channels of a larger tensor."""
    return torch.cat([tensor, tensor], 1)[:, : tensor.shape[1]]


def far_apart(tensor: torch.Tensor) -> torch.Tensor:
    """Rows more than 2^31 elements apart. The memory between is never used and takes no space."""
    strides = (2**31 + 16, *tensor.stride()[1:])
    return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype).copy_(tensor)


SIGNALS = ("u", "delta", "z")
CASES: dict[str, Make] = {
    "one step": case(batch=2),
    "two chunks": case(channels=6, length=150, states=3),
    "groups": case(batch=2, channels=10, length=20, groups=2),
    "plain": case(length=20, gate=False, delta_softplus=False),
    "one state": case(channels=2, length=9, states=1),
    "300 states": case(channels=2, length=2, states=300),
    "step": case(batch=2, length=33, step=True),
    "zoh": case(batch=2, length=33, discretization="zoh"),
    "dirac, step": case(length=33, step=True, discretization="dirac"),
    "async": case(length=33, step=True, discretization="async"),
    "free step": case(length=33, step="free"),
    "packed": case(channels=3, length=170, ends=[0, 7, 7, 140, 170]),
    "packed, step": case(length=20, step=True, ends=[0, 13, 20], discretization="zoh"),
    "packed, long": case(channels=3, length=290, states=2, ends=[0, 7, 7, 290], step=True),
    "padded rows": case(channels=3, length=257, states=2, step=True, groups=3),
    "nothing optional": without(
        case(batch=2, length=40), "D", "z", "delta_bias", "initial_state", "delta_softplus"
    ),
    "step, no scale": without(case(length=33, step=True), "step_scale"),
    "channels last": with_layout(case(batch=2, length=33), channels_last, *SIGNALS),
    "channels-last gate": with_layout(case(batch=2, length=33), channels_last, "z"),
    "half a tensor": with_layout(case(batch=2, length=33), half_of_wider, *SIGNALS),
    **EMPTY,
}
FAR = {"far apart": with_layout(case(batch=2, channels=1, length=20, states=1), far_apart, "u")}
LOW = ("groups", "packed, step", "async")


def difference_of_bounds(ends: list[int]) -> float:
    """Of the results with these bounds, which a GPU does not check, and with the right ones."""
    x, one, none = torch.rand(1, 2, 20), torch.ones(2), torch.zeros(2)
    signals = x, x, -torch.rand(2, 3), *2 * [torch.rand(1, 1, 3, 20)], one, None, none, None, one
    results = [
        triton.forward(*signals, None, torch.zeros(1, 2, 3), torch.tensor(e), False, "delta", False)
        for e in ([0, 20], ends)
    ]
    return max(float((a - b).abs().max()) for a, b in zip(*(r[:2] for r in results), strict=True))


def main() -> None:
    runs = [(name, make, torch.float32) for name, make in CASES.items()]
    runs += [
        (name, CASES[name], dtype) for name in LOW for dtype in (torch.bfloat16, torch.float16)
    ]
    runs += [(name, make, torch.bfloat16) for name, make in FAR.items()]
    errors = largest_errors(selective_scan, runs)
    errors["wrong bounds"] = max(difference_of_bounds([0, 900]), difference_of_bounds([-900, 20]))
    json.dump(errors, sys.stdout)


if __name__ == "__main__":
    main()
