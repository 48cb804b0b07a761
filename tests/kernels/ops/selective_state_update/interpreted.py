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

from evenfall.testing.memory import poisoned_memory
from evenfall_kernels.ops.selective_state_update import triton

SIZES = [(1, 1, 1, 1), (2, 63, 5, 1), (2, 6, 100, 3), (0, 3, 4, 1), (2, 3, 1, 3), (1, 33, 256, 1)]


def error(sizes: tuple[int, ...], missing: tuple[str, ...], softplus: bool, strided: bool) -> float:
    inputs = make(*sizes, dtype=torch.float32)
    if softplus:
        inputs["dt"] = inputs["dt"] * 20  # both branches of softplus
    else:
        inputs["dt"] = inputs["dt"].abs() + 5  # a negative step makes the state explode
    arguments = {name: None if name in missing else tensor for name, tensor in inputs.items()}
    state, out = expected({n: t for n, t in arguments.items() if t is not None}, softplus)
    pair = torch.stack([inputs["state"]] * 2, dim=1)
    arguments["state"] = pair[:, 1] if strided else inputs["state"].clone()
    with poisoned_memory():
        got = triton.step(*arguments.values(), softplus, None)
    return max(relative(got, out), relative(arguments["state"], state))


def error_of_rows() -> float:
    inputs = make(3, 33, 5, 1, dtype=torch.float32)
    indices = torch.tensor([4, -1, 2])
    inputs["state"] = torch.randn(5, 33, 5)
    before = inputs["state"].clone()
    state, out = expected(inputs | {"state": before[[4, 0, 2]]}, True)
    out[1], before[4], before[2] = 0, state[0], state[2]
    with poisoned_memory():
        got = triton.step(*inputs.values(), True, indices)
    worst = max(relative(got, out), relative(inputs["state"], before.double()))
    got = triton.step(*inputs.values(), True, torch.tensor([-1, 5, 2**40]))  # 5 rows: no check
    unchanged = torch.equal(inputs["state"][[0, 1, 3]], before[[0, 1, 3]])
    return worst if unchanged and not got[0].any() and got[1:].isnan().all() else float("inf")


def error_of_small_steps() -> float:
    """Of the state after a step of 1e-4, which log(1 + e^x) in float32 would blur."""
    inputs = make(2, 3, 4, 1, dtype=torch.float32)
    inputs |= {"dt": torch.full((2, 3), -9.0), "dt_bias": torch.zeros(3)}
    inputs["state"] = torch.zeros(2, 3, 4)
    state, _ = expected(inputs, True)
    triton.step(*inputs.values(), True, None)
    return float(((inputs["state"].double() - state) / state).abs().max())


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    if not want.numel():
        return 0.0
    scale = want.abs().clamp(min=1)
    return float(((got.double() - want).abs() / scale).max().nan_to_num(float("inf")))


def main() -> None:
    results = {
        f"{sizes}, without {missing}, softplus {softplus}": error(
            sizes, missing, softplus, strided=softplus
        )
        for sizes in SIZES
        for missing in ((), OPTIONAL)
        for softplus in (True, False)
    }
    results["rows of a cache"] = error_of_rows()
    results["small steps"] = error_of_small_steps()
    json.dump(results, sys.stdout)


main()
