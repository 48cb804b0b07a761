"""The CPU backend of causal_conv1d against its float64 reference, with Evenfall's test kit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from evenfall import use_backend
from evenfall.testing.kernels import KernelBattery
from evenfall_kernels import causal_conv1d


def make_inputs(
    batch: int, dim: int, length: int, width: int, ends: list[int] | None = None
) -> Callable[[torch.dtype, str], dict[str, Any]]:
    """A function that makes keyword arguments, the same numbers in every dtype."""

    def make(dtype: torch.dtype, device: str) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(1000 * batch + length)
        sequences = batch if ends is None else len(ends) - 1
        shapes = {
            "x": (batch, dim, length), "weight": (dim, width), "bias": (dim,),
            "initial_state": (sequences, dim, width - 1),
        }  # fmt: skip
        inputs: dict[str, Any] = {
            name: torch.randn(shape, generator=generator).to(device, dtype)
            for name, shape in shapes.items()
        }
        if ends is not None:
            inputs["cu_seqlens"] = torch.tensor(ends, device=device)
        return inputs

    return make


CASES = {
    "one step": make_inputs(2, 3, 1, 4),
    "odd": make_inputs(3, 17, 63, 4),
    "one channel": make_inputs(2, 1, 5, 4),
    "width 1": make_inputs(2, 5, 9, 1),
    "wide": make_inputs(1, 5, 7, 9),
    "long": make_inputs(1, 3, 2047, 4),
    "packed": make_inputs(1, 7, 100, 4, [0, 1, 1, 3, 36, 99, 100]),
    "packed, one": make_inputs(1, 5, 9, 3, [0, 9]),
}
EMPTY = {
    "no step": make_inputs(2, 3, 0, 4),
    "no sequence": make_inputs(0, 3, 5, 4),
    "no channel": make_inputs(2, 0, 5, 4),
    "packed, all empty": make_inputs(1, 3, 0, 4, [0, 0, 0]),
    "packed, none": make_inputs(1, 3, 0, 4, [0]),
}


class TestCausalConv1d(KernelBattery):
    operation = "causal_conv1d"
    backends = ("cpu",)
    dtypes = ("float32", "bfloat16", "float16")
    activation: str | None = "silu"

    def cases(self) -> Mapping[str, Any]:
        return CASES

    def empty_cases(self) -> Mapping[str, Any]:
        return EMPTY

    def call(self, backend: str, **inputs: Any) -> tuple[torch.Tensor, ...]:
        with use_backend(backend):
            return causal_conv1d(**inputs, return_final_state=True, activation=self.activation)


class TestCausalConv1dLinear(TestCausalConv1d):
    """The same without an activation, in float32."""

    dtypes = ("float32",)
    activation = None
