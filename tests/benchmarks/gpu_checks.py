"""Triton's kernels against the float64 reference: every output and gradient, option by option.

Errors are the largest difference over the largest value wanted. Where bfloat16 is asked for, its
rounding moves some cells across their threshold, where y jumps. So bfloat16 is checked twice:
strictly with thresholds so low that every unit fires, over few steps (what is never reset down
grows, and a long run of it magnifies any rounding), and in the Euclidean norm as it is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from evenfall import use_backend
from evenfall.testing.memory import poisoned_memory
from evenfall_kernels import egru_scan

FP32_ALLOWED, BF16_ALLOWED, BF16_NORM_ALLOWED = 1e-4, 3e-2, 0.1
_MARGIN, _SEEDS = 1e-5, 40
_FEW_STEPS = 12
_EVERY_UNIT_FIRES = -1.5  # a cell starts within (-1, 1) and such a threshold only adds to it


@dataclass(frozen=True)
class Case:
    """Sizes and options of one call of egru_scan."""

    batch: int
    steps: int
    inputs: int
    units: int
    ends: tuple[int, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    dropconnect: bool = False
    poisoned: bool = False


SMALL = {
    "one step": Case(3, 1, 5, 7),
    "odd": Case(3, 7, 5, 17),
    "more than one block": Case(2, 3, 4, 300),
    "no step": Case(2, 0, 5, 7),
    "no sequence": Case(0, 4, 5, 7),
    "packed": Case(1, 12, 5, 17, (0, 3, 3, 9, 12)),
    "packed, all empty": Case(1, 0, 5, 7, (0, 0, 0)),
    "zoneout, evaluation": Case(3, 5, 5, 17, options={"zoneout": 0.3}),
    "zoneout, training": Case(3, 5, 5, 17, options={"zoneout": 0.3, "training": True}),
    "DropConnect": Case(3, 5, 5, 17, dropconnect=True),
    "poisoned": Case(3, 7, 5, 17, poisoned=True),
    "packed, poisoned": Case(1, 12, 5, 17, (0, 3, 3, 9, 12), poisoned=True),
}
LARGE = SMALL | {
    "63 steps": Case(3, 63, 9, 33),
    "100 steps": Case(2, 100, 9, 65),
    "2047 steps": Case(1, 2047, 3, 11),
    "1350 units": Case(4, 5, 750, 1350),
    "packed, long": Case(1, 163, 6, 65, (0, 63, 63, 64, 163)),
}


def make_inputs(case: Case, seed: int, threshold: float | None = None) -> dict[str, Tensor]:
    """The tensors of a call in float64; thresholds within [0, 0.3] unless one is given."""
    generator = torch.Generator().manual_seed(seed)
    units, sequences = case.units, case.batch if case.ends is None else len(case.ends) - 1

    def normal(*shape: int, scale: float) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64) * scale

    made = {
        "x": normal(case.batch, case.steps, case.inputs, scale=1.0),
        "kernel": normal(case.inputs, 3 * units, scale=case.inputs**-0.5),
        "recurrent_kernel": normal(units, 3 * units, scale=0.5 * units**-0.5),
        "bias": normal(3 * units, scale=0.1),
        "recurrent_bias": normal(3 * units, scale=0.1),
        "threshold": torch.rand(units, generator=generator, dtype=torch.float64) * 0.3,
        "y": normal(sequences, units, scale=0.3).abs(),
        "h": normal(sequences, units, scale=0.3),
    }
    if threshold is not None:
        made["threshold"] = torch.full_like(made["threshold"], threshold)
    return made


def run_scan(
    case: Case, inputs: dict[str, Tensor], backend: str, support: float
) -> tuple[list[Tensor], Tensor]:
    """Outputs and gradients in a fixed order, and how far the nearest cell is from firing."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in inputs.items()}
    arguments = {name: leaf for name, leaf in leaves.items() if name not in ("y", "h")}
    x = leaves["x"]
    generator = torch.Generator().manual_seed(2)
    if case.dropconnect:
        drawn = torch.rand(inputs["recurrent_kernel"].shape, generator=generator) < 0.5
        arguments["dropconnect_mask"] = drawn.to(x)
    ends = None if case.ends is None else torch.tensor(case.ends, device=x.device)
    torch.manual_seed(1)  # of zoneout's mask
    with use_backend(backend):
        out = egru_scan(
            **arguments, initial_state=(leaves["y"], leaves["h"]), cu_seqlens=ends,
            dampening=support, support=support, return_events=True, return_cells=True,
            **case.options,
        )  # fmt: skip
        outputs = [out.y, *out.state, out.events, out.cells]
        weights = [torch.randn(o.shape, generator=generator).to(o) for o in outputs]
        gradients = torch.autograd.grad(
            outputs, list(leaves.values()), weights, allow_unused=True, materialize_grads=True
        )
    distance = (out.cells.detach() - leaves["threshold"].detach()).abs()
    nearest = distance.min() if distance.numel() else distance.new_tensor(float("inf"))
    return [*(o.detach() for o in outputs), *gradients], nearest


def drawn_inputs(case: Case, device: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Inputs for which no cell is within single precision's rounding of its threshold."""
    for seed in range(_SEEDS):
        inputs = {n: t.to(dtype).to(device) for n, t in make_inputs(case, seed).items()}
        exact = {name: tensor.double() for name, tensor in inputs.items()}
        if dtype != torch.float32 or run_scan(case, exact, "reference", 3.6)[1] > _MARGIN:
            return inputs
    raise RuntimeError(f"no seed below {_SEEDS} keeps every cell of {case} off its threshold")


def relative_error(got: list[Tensor], want: list[Tensor], euclidean: bool = False) -> float:
    """The worst over all tensors; infinite for a wrong shape or a NaN."""
    worst = 0.0
    for ours, theirs in zip(got, want, strict=True):
        if ours.shape != theirs.shape:
            return float("inf")
        if not theirs.numel():
            continue
        difference, scale = ours.double() - theirs, theirs.clone()
        size = torch.linalg.vector_norm if euclidean else _largest
        error = float(size(difference) / size(scale).clamp_min(1e-9))
        worst = max(worst, error if error == error else float("inf"))
    return worst


def _largest(tensor: Tensor) -> Tensor:
    return tensor.abs().max()


def scan_error(
    case: Case, device: str, dtype: torch.dtype, every_unit_fires: bool = False
) -> float:
    """Triton's error in one case."""
    if every_unit_fires:
        made, support = make_inputs(case, 0, _EVERY_UNIT_FIRES), 0.2
        inputs = {n: t.to(dtype).to(device) for n, t in made.items()}
    else:
        inputs, support = drawn_inputs(case, device, dtype), 3.6
    want, _ = run_scan(case, {n: t.double() for n, t in inputs.items()}, "reference", support)
    if case.poisoned:
        with warnings.catch_warnings(), poisoned_memory():
            warnings.simplefilter("ignore")  # torch names products that are not deterministic
            got, _ = run_scan(case, inputs, "triton", support)
    else:
        got, _ = run_scan(case, inputs, "triton", support)
    return relative_error(got, want, dtype != torch.float32 and not every_unit_fires)


def tried(name: str, allowed: float, measure: Callable[[], float]) -> dict[str, Any]:
    """A row of the report. A kernel that does not even run is a failed check, not a crash."""
    try:
        error, message = measure(), ""
    except Exception as problem:  # a compiler's errors have no common class
        error, message = float("inf"), f"{type(problem).__name__}: {problem}"[:300]
    ok = error <= allowed
    return {"check": name, "error": error, "allowed": allowed, "ok": ok, "message": message}


def check_scan(device: str, large: bool) -> Iterator[dict[str, Any]]:
    """Every case in float32 and, twice, in bfloat16."""
    for name, case in (LARGE if large else SMALL).items():
        ways = (
            ("float32", FP32_ALLOWED, torch.float32, False),
            ("bfloat16, every unit fires", BF16_ALLOWED, torch.bfloat16, True),
            ("bfloat16, Euclidean", BF16_NORM_ALLOWED, torch.bfloat16, False),
        )
        for way, allowed, dtype, fires in ways:
            if fires and case.steps > _FEW_STEPS:
                continue
            call = partial(scan_error, case, device, dtype, fires)
            yield tried(f"egru_scan {way}: {name}", allowed, call)
