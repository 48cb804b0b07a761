"""Triton's selective_state_update on a GPU: the output, and the state changed in place.

On the CPU, where Triton is interpreted, the small sizes alone.
"""

from __future__ import annotations

import pytest
import torch

from evenfall import use_backend
from evenfall.testing.gpu import triton_device
from evenfall.testing.memory import poisoned_memory
from evenfall_kernels import selective_state_update

from ..ops.selective_state_update.test_step import OPTIONAL, make
from .errors import relative_error

DEVICE = triton_device()
pytestmark = pytest.mark.gpu

# batch, channels, states, groups
SMALL = [(1, 1, 1, None), (2, 64, 5, 2), (0, 4, 4, None), (2, 3, 256, None)]
LARGE = [(3, 33, 256, None), (16, 1536, 16, None)]
ALLOWED = {torch.float32: 1e-4, torch.bfloat16: 3e-2}


@pytest.mark.parametrize("sizes", SMALL + (LARGE if DEVICE == "cuda" else []))
@pytest.mark.parametrize("left_out", [(), OPTIONAL])
@pytest.mark.parametrize("dtype", ALLOWED)
def test_equals_float64(
    sizes: tuple[int, int, int, int | None], left_out: tuple[str, ...], dtype: torch.dtype
) -> None:
    inputs = {n: t.to(DEVICE) for n, t in make(*sizes, dtype=dtype).items() if n not in left_out}
    inputs["state"] = inputs["state"].float()
    exact = {name: tensor.double() for name, tensor in inputs.items()}
    with use_backend("reference"):
        want = selective_state_update(**exact, dt_softplus=True)
    with use_backend("triton"), poisoned_memory():
        got = selective_state_update(**inputs, dt_softplus=True)
    assert got.shape == want.shape
    assert got.dtype == dtype
    assert relative_error(got, want) <= ALLOWED[dtype]
    assert relative_error(inputs["state"], exact["state"]) <= ALLOWED[dtype]
