"""Run the Triton backend on the CPU and write its largest error, case by case, as JSON.

It runs in its own process, because Triton reads TRITON_INTERPRET when it is first imported. Errors
are relative to the largest value that the float64 reference gives. Buffers are poisoned with NaN.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
from test_battery import CASES, EMPTY
from torch import Tensor

from evenfall.testing.memory import poisoned_memory
from evenfall_kernels.ops.causal_conv1d import reference, triton

NAMES = ("x", "weight", "bias", "initial_state", "cu_seqlens")
SLOW = {"long"}


def error(got: Tensor, want: Tensor) -> float:
    if got.shape != want.shape or not got.numel():
        return 0.0 if got.shape == want.shape else float("inf")
    worst = float((got.double() - want).abs().max() / want.abs().max().clamp(min=1))
    return worst if worst == worst else float("inf")


def errors(case: str, silu: bool, bare: bool, channels_last: bool) -> float:
    inputs = {**CASES, **EMPTY}[case](torch.float32, "cpu")
    if channels_last:
        inputs["x"] = inputs["x"].transpose(1, 2).contiguous().transpose(1, 2)
    arguments = [inputs.get(name) for name in NAMES]
    if bare:
        arguments[2] = arguments[3] = None
    exact = [t.double() if t is not None and t.is_floating_point() else t for t in arguments]
    want = reference.forward(*exact, silu)
    grads = [torch.randn(out.shape) for out in want]
    want += reference.backward(*(grad.double() for grad in grads), *exact, silu)
    with poisoned_memory():
        got = triton.forward(*arguments, silu) + triton.backward(*grads, *arguments, silu)
    assert got[0].stride() == arguments[0].stride() == got[2].stride()
    return max(map(error, got, want))


def error_of_final_state() -> float:
    """With an initial state of fewer digits than x."""
    x, weight = torch.randn(2, 3, 5), torch.randn(3, 4)
    arguments = x, weight, None, torch.randn(2, 3, 3).bfloat16(), None, True
    return error(triton.forward(*arguments)[1], reference.forward(*arguments)[1].double())


def main() -> None:
    torch.manual_seed(0)
    results = {
        f"{case}, silu {silu}, bare {bare}, channels_last {channels_last}": errors(
            case, silu, bare, channels_last
        )
        for case in {**CASES, **EMPTY}
        if case not in SLOW
        for silu, bare in ((True, False), (False, True))
        for channels_last in (False, True)
    }
    results["final state"] = error_of_final_state()
    json.dump(results, sys.stdout)


main()
