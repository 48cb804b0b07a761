"""The backends of egru_scan against its float64 reference, with Evenfall's test kit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch

from evenfall import use_backend
from evenfall.testing.kernels import KernelBattery
from evenfall_kernels import egru_scan


def _case(
    batch: int, time: int, inputs: int, units: int, ends: list[int] | None = None
) -> Callable[[torch.dtype, str], dict[str, Any]]:
    def make(dtype: torch.dtype, device: str) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(batch * 1000 + time)
        sequences = batch if ends is None else len(ends) - 1
        shapes = {
            "x": (batch, time, inputs), "kernel": (inputs, 3 * units),
            "recurrent_kernel": (units, 3 * units), "bias": (3 * units,),
            "recurrent_bias": (3 * units,), "y": (sequences, units), "h": (sequences, units),
        }  # fmt: skip
        scales = {"x": 1.0, "kernel": inputs**-0.5, "recurrent_kernel": units**-0.5}
        inputs_: dict[str, Any] = {
            name: (torch.randn(shape, generator=generator) * scales.get(name, 0.1)).to(
                device, dtype
            )
            for name, shape in shapes.items()
        }
        inputs_["threshold"] = (torch.rand(units, generator=generator) * 0.3).to(device, dtype)
        if ends is not None:
            inputs_["cu_seqlens"] = torch.tensor(ends, device=device)
        return inputs_

    return make


class TestEgruScan(KernelBattery):
    operation = "egru_scan"
    backends = ("cpu",)
    tolerances: ClassVar[Mapping[str, tuple[float, float]]] = {"float32": (1e-4, 1e-5)}

    def cases(self) -> Mapping[str, Any]:
        return {
            "one step": _case(3, 1, 5, 7),
            "odd": _case(3, 63, 9, 33),
            "one sequence": _case(1, 100, 4, 21),
            "two sequences": _case(2, 9, 4, 21),
            "packed": _case(1, 40, 6, 19, [0, 7, 7, 8, 31, 40]),
            "packed pair": _case(1, 12, 6, 19, [0, 9, 12]),
        }

    def empty_cases(self) -> Mapping[str, Any]:
        return {
            "no step": _case(2, 0, 5, 7),
            "no sequence": _case(0, 4, 5, 7),
            "packed, all empty": _case(1, 0, 5, 7, [0, 0, 0]),
        }

    def call(self, backend: str, **inputs: Any) -> tuple[torch.Tensor, ...]:
        state = inputs.pop("y"), inputs.pop("h")
        with use_backend(backend):
            out = egru_scan(
                **inputs, initial_state=state, dampening=3.6, support=3.6,
                return_events=True, return_cells=True,
            )  # fmt: skip
        assert out.events is not None
        assert out.cells is not None
        return out.y, *out.state, out.events, out.cells


class TestEgruScanDense(TestEgruScan):
    """The same with dense products for one and two sequences."""

    def cases(self) -> Mapping[str, Any]:
        return {"one sequence": _case(1, 30, 4, 21), "zero rows": _case(2, 9, 4, 21)}

    def call(self, backend: str, **inputs: Any) -> tuple[torch.Tensor, ...]:
        state = inputs.pop("y"), inputs.pop("h")
        with use_backend(backend):
            out = egru_scan(**inputs, initial_state=state, event_driven=False)
        return out.y, *out.state
