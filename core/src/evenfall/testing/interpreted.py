"""The errors of a Triton backend in a process with TRITON_INTERPRET=1, case by case."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from evenfall.backends import use_backend

from . import compare
from .interpreter import quicken_interpreter
from .memory import poisoned_memory

if TYPE_CHECKING:
    import torch

    Make = Callable[[torch.dtype, str], compare.Inputs]


def largest_errors(
    operation: Callable[..., object], runs: Iterable[tuple[str, Make, torch.dtype]]
) -> dict[str, float]:
    """Of each case, the largest error of an output or gradient against the float64 reference.

    It is relative to the largest value; infinite for a wrong shape or a value that is not finite.

    Args:
        operation: an operation that returns its last state with `return_last_state=True`.
        runs: (name, function from dtype and device to the arguments, dtype). The dtype stands
            behind the name unless it is float32.
    """
    quicken_interpreter()

    def run(backend: str, inputs: compare.Inputs) -> compare.Result:
        def call(**keywords: object) -> object:
            with use_backend(backend):
                return operation(**keywords, return_last_state=True)

        return compare.run(call, inputs)

    errors = {}
    for name, make, dtype in runs:
        inputs = make(dtype, "cpu")
        kind = str(dtype).removeprefix("torch.")
        if kind != "float32":
            name = f"{name}, {kind}"
        with poisoned_memory():
            got = run("triton", inputs)
        want = run("reference", compare.to_reference(inputs))
        pairs = [*zip(got.outputs, want.outputs, strict=True)]
        pairs += [(got.gradients[key], value) for key, value in want.gradients.items()]
        errors[name] = max(_error(one, other) for one, other in pairs)
    return errors


def _error(got: torch.Tensor | None, want: torch.Tensor | None) -> float:
    if want is None or not want.numel():
        return float(got is not None and bool(got.any()))
    value = want.new_zeros(want.shape) if got is None else got.double()
    if value.shape != want.shape or not value.isfinite().all():
        return float("inf")
    return float((value - want).abs().max() / want.abs().max().clamp_min(1e-9))
