"""Triton's egru_scan on a GPU, by the kernel battery in float32, and in bfloat16.

bfloat16 rounds some cells across their threshold, where y jumps. So it is checked twice: strictly
with thresholds so low that every unit fires, over few steps (what is never reset down grows, and a
long run of it magnifies any rounding), and in the Euclidean norm as it is used.

On the CPU, where Triton is interpreted, the small cases alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch

from evenfall import use_backend
from evenfall.testing import compare
from evenfall.testing.gpu import triton_device
from evenfall.testing.kernels import KernelBattery
from evenfall_kernels import egru_scan

DEVICE = triton_device()
pytestmark = pytest.mark.gpu

MARGIN, SEEDS = 1e-5, 40
FEW_STEPS = 12
EVERY_UNIT_FIRES = -1.5  # a cell starts within (-1, 1) and such a threshold only adds to it


@dataclass(frozen=True)
class Case:
    """Sizes and options of one call."""

    batch: int
    steps: int
    inputs: int
    units: int
    ends: tuple[int, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    dropconnect: bool = False

    def make(self, dtype: torch.dtype, device: str) -> dict[str, Any]:
        """The keywords, with no cell within single precision's rounding of its threshold."""
        for seed in range(SEEDS):
            made = self.drawn(seed, dtype, device)
            if dtype != torch.float32 or self._margin(made) > MARGIN:
                return made
        raise RuntimeError(f"no seed below {SEEDS} keeps every cell of {self} off its threshold")

    def drawn(
        self, seed: int, dtype: torch.dtype, device: str, threshold: float | None = None
    ) -> dict[str, Any]:
        """Thresholds within [0, 0.3] unless one is given."""
        generator = torch.Generator().manual_seed(seed)
        sequences = self.batch if self.ends is None else len(self.ends) - 1

        def normal(*shape: int, scale: float) -> torch.Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64) * scale

        made = {
            "x": normal(self.batch, self.steps, self.inputs, scale=1.0),
            "kernel": normal(self.inputs, 3 * self.units, scale=self.inputs**-0.5),
            "recurrent_kernel": normal(self.units, 3 * self.units, scale=0.5 * self.units**-0.5),
            "bias": normal(3 * self.units, scale=0.1),
            "recurrent_bias": normal(3 * self.units, scale=0.1),
            "threshold": torch.rand(self.units, generator=generator, dtype=torch.float64) * 0.3,
            "y": normal(sequences, self.units, scale=0.3).abs(),
            "h": normal(sequences, self.units, scale=0.3),
        }
        if threshold is not None:
            made["threshold"] = torch.full_like(made["threshold"], threshold)
        if self.dropconnect:
            kept = torch.rand(self.units, 3 * self.units, generator=generator) < 0.5
            made["dropconnect_mask"] = kept.double()
        keywords: dict[str, Any] = {name: t.to(device, dtype) for name, t in made.items()}
        if self.ends is not None:
            keywords["cu_seqlens"] = torch.tensor(self.ends, device=device)
        return keywords | self.options

    @staticmethod
    def _margin(made: Mapping[str, Any]) -> float:
        exact = compare.to_reference(made)
        cells = call("reference", 3.6, **exact)[-1]
        distance = (cells - exact["threshold"]).abs()
        return float(distance.min()) if distance.numel() else float("inf")


def call(backend: str, support: float, **inputs: Any) -> tuple[torch.Tensor, ...]:
    """y, the state, the events and the cells."""
    state = inputs.pop("y"), inputs.pop("h")
    torch.manual_seed(1)  # of zoneout's mask
    with use_backend(backend):
        out = egru_scan(
            **inputs, initial_state=state, dampening=support, support=support,
            return_events=True, return_cells=True,
        )  # fmt: skip
    assert out.events is not None
    assert out.cells is not None
    return out.y, *out.state, out.events, out.cells


SMALL = {
    "one step": Case(3, 1, 5, 7),
    "odd": Case(3, 7, 5, 17),
    "more than one block": Case(2, 3, 4, 300),
    "packed": Case(1, 12, 5, 17, (0, 3, 3, 9, 12)),
    "zoneout, evaluation": Case(3, 5, 5, 17, options={"zoneout": 0.3}),
    "zoneout, training": Case(3, 5, 5, 17, options={"zoneout": 0.3, "training": True}),
    "DropConnect": Case(3, 5, 5, 17, dropconnect=True),
}
LARGE = {
    "63 steps": Case(3, 63, 9, 33),
    "100 steps": Case(2, 100, 9, 65),
    "2047 steps": Case(1, 2047, 3, 11),
    "1350 units": Case(4, 5, 750, 1350),
    "packed, long": Case(1, 163, 6, 65, (0, 63, 63, 64, 163)),
}
EMPTY = {
    "no step": Case(2, 0, 5, 7),
    "no sequence": Case(0, 4, 5, 7),
    "packed, all empty": Case(1, 0, 5, 7, (0, 0, 0)),
}
CASES = SMALL | (LARGE if DEVICE == "cuda" else {})
FEW = {name: case for name, case in (CASES | EMPTY).items() if case.steps <= FEW_STEPS}


def makers(cases: Mapping[str, Case]) -> dict[str, Callable[..., dict[str, Any]]]:
    return {name: case.make for name, case in cases.items()}


class TestOnGpu(KernelBattery):
    operation = "egru_scan"
    backends = ("triton",)
    devices = (DEVICE,)
    nondifferentiable: ClassVar[tuple[str, ...]] = ("dropconnect_mask",)
    tolerances: ClassVar[Mapping[str, tuple[float, float]]] = {"float32": (1e-4, 1e-4)}
    test_opcheck = None

    def cases(self) -> Mapping[str, Any]:
        return makers(CASES)

    def empty_cases(self) -> Mapping[str, Any]:
        return makers(EMPTY)

    def call(self, backend: str, **inputs: Any) -> tuple[torch.Tensor, ...]:
        return call(backend, 3.6, **inputs)


def errors(
    inputs: Mapping[str, Any], support: float, size: Callable[[torch.Tensor], torch.Tensor]
) -> list[float]:
    """How far Triton is from float64, each output and gradient by its size."""

    def run(backend: str, given: Mapping[str, Any]) -> list[torch.Tensor | None]:
        result = compare.run(
            lambda **keywords: call(backend, support, **keywords),
            given,
            lambda name: name != "dropconnect_mask",
        )
        return [*result.outputs, *result.gradients.values()]

    found = []
    for got, want in zip(
        run("triton", inputs), run("reference", compare.to_reference(inputs)), strict=True
    ):
        if got is not None and want is not None and want.numel():
            assert got.shape == want.shape
            assert bool(got.isfinite().all())
            found.append(float(size(got.double() - want) / size(want).clamp_min(1e-9)))
    return found


@pytest.mark.parametrize("case", FEW.values(), ids=list(FEW))
def test_bfloat16_where_every_unit_fires(case: Case) -> None:
    inputs = case.drawn(0, torch.bfloat16, DEVICE, EVERY_UNIT_FIRES)
    assert max(errors(inputs, 0.2, lambda tensor: tensor.abs().max()), default=0.0) <= 3e-2


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_bfloat16_in_the_euclidean_norm(case: Case) -> None:
    inputs = case.make(torch.bfloat16, DEVICE)
    assert max(errors(inputs, 3.6, torch.linalg.vector_norm), default=0.0) <= 0.1
