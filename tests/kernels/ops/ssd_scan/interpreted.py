"""Run in its own process with TRITON_INTERPRET=1: print the errors of Triton's ssd_scan."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import torch
from cases import CASES, EMPTY, Make, case

from evenfall.testing.interpreted import largest_errors
from evenfall_kernels import ssd_scan


def in_wider_rows(make: Make) -> Make:
    """The same case with signals that are parts of a projection, as in a layer of Mamba-2."""

    def make_views(dtype: torch.dtype, device: str) -> dict[str, Any]:
        inputs = make(dtype, device)
        for name in ("x", "dt", "B", "C"):
            tensor = inputs[name]
            inputs[name] = torch.cat([tensor, tensor], -1)[..., : tensor.shape[-1]]
        return inputs

    return make_views


def with_a_large_step(make: Make) -> Make:
    """Small steps after a large one, which a running sum in float32 would blur."""

    def make_steps(dtype: torch.dtype, device: str) -> dict[str, Any]:
        inputs = make(dtype, device)
        dt = torch.full_like(inputs["dt"], 0.01)
        dt[:, 5] = 800.0
        return inputs | {"dt": dt, "dt_softplus": False, "dt_bias": None}

    return make_steps


RUN: dict[str, Make] = {
    **CASES,
    "several tiles": case(length=70, channels=40, states=70, heads=1, gate=True),
    "parts of wider rows": in_wider_rows(case(batch=2, length=5, heads=4, groups=2)),
    "a large step": with_a_large_step(case(length=60, heads=1)),
    **EMPTY,
}
LOW = ("63", "groups", "packed, groups")


def main() -> None:
    runs = [(name, make, torch.float32) for name, make in RUN.items()]
    runs += [(name, RUN[name], dtype) for name in LOW for dtype in (torch.bfloat16, torch.float16)]
    json.dump(largest_errors(ssd_scan, runs), sys.stdout)


if __name__ == "__main__":
    main()
