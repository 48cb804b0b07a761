"""Run the Triton backend on the CPU and write its largest error, case by case, as JSON.

It runs in its own process, because Triton reads TRITON_INTERPRET when it is first imported. Buffers
are poisoned with NaN.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
from test_step import OPTIONAL, expected, make

from evenfall import use_backend
from evenfall.testing.memory import poisoned_memory
from evenfall_kernels import ssd_state_update

SIZES = [(1, 1, 1, 1, 1), (2, 6, 17, 5, 3), (1, 2, 33, 128, 1), (0, 3, 4, 4, 1)]


def error(sizes: tuple[int, ...], missing: tuple[str, ...], strided: bool) -> float:
    inputs = {k: v for k, v in make(*sizes, dtype=torch.float32).items() if k not in missing}
    state, out = expected(inputs, dt_softplus=True)
    if strided:
        inputs["state"] = torch.stack([inputs["state"]] * 2, dim=1)[:, 1]
    with poisoned_memory(), use_backend("triton", "ssd_state_update"):
        got = ssd_state_update(**inputs, dt_softplus=True)
    return max(relative(got, out), relative(inputs["state"], state))


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    if not want.numel():
        return 0.0
    scale = want.abs().clamp(min=1)
    return float(((got.double() - want).abs() / scale).max().nan_to_num(float("inf")))


def main() -> None:
    results = {
        f"{sizes}, without {missing}, strided {strided}": error(sizes, missing, strided)
        for sizes in SIZES
        for missing in ((), OPTIONAL)
        for strided in (True, False)
    }
    json.dump(results, sys.stdout)


main()
