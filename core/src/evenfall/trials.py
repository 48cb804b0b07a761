"""Run the tiny call of an operation on each backend; compare the results with the reference's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from evenfall import registry
from evenfall.backends import REFERENCE, Kernel, candidates, use_backend
from evenfall.contracts import Operation

_TOLERANCES = {"float32": 1e-3, "float64": 1e-8, "bfloat16": 1e-1, "float16": 2e-2}
"""Dtype to the largest difference, absolute and relative; the first that a backend serves is
tried."""


@dataclass(frozen=True)
class Trial:
    """The call on one backend: where it ran, and what is wrong with it, or None."""

    backend: str
    owner: str
    place: str
    problem: str | None


def try_backends(operation: str) -> Iterator[Trial]:
    """A trial of each backend that can be used here; none if the operation has no example.

    Raises:
        ReferenceImportError: the operation's contract cannot be imported, for example without
            torch.
    """
    if operation not in registry.operations:
        return
    found = registry.operations.get(operation)
    if found.example is None:
        return
    want: Any = None
    kernels = sorted(candidates(operation), key=lambda one: one.backend != REFERENCE)
    for kernel in kernels:
        for device in _devices():
            dtype = next((name for name in _TOLERANCES if kernel.fits(device, name)), None)
            if dtype is None or kernel.problem() is not None:
                continue
            try:
                got = _run(kernel, found, device, dtype)
                if kernel.backend == REFERENCE and want is None:
                    want = _run(kernel, found, device, _exact(kernel, device, dtype))
                problem = None if want is None else _difference(got, want, _TOLERANCES[dtype])
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            yield Trial(kernel.backend, kernel.owner, f"{device} {dtype}", problem)


def _devices() -> list[str]:
    import torch

    accelerators = [name for name in ("cuda", "xpu") if getattr(torch, name).is_available()]
    return ["cpu", *accelerators]


def _exact(kernel: Kernel, device: str, dtype: str) -> str:
    return "float64" if kernel.fits(device, "float64") else dtype


def _run(kernel: Kernel, operation: Operation, device: str, dtype: str) -> list[Any]:
    import torch

    assert operation.example is not None
    with warnings.catch_warnings(), use_backend(kernel.backend, kernel.operation):
        warnings.simplefilter("ignore")  # of other operations, which the call may need
        results = operation.example(device, getattr(torch, dtype))
    return [one.detach().double().cpu() for one in results]


def _difference(got: Sequence[Any], want: Sequence[Any], tolerance: float) -> str | None:
    shapes = [[tuple(one.shape) for one in results] for results in (got, want)]
    if shapes[0] != shapes[1]:
        return f"it returns tensors of shapes {shapes[0]}, the reference {shapes[1]}"
    for one, other in zip(got, want, strict=True):
        error = (one - other).abs()
        if not bool((error <= tolerance * (1 + other.abs())).all()):
            return f"its results differ from the reference's by {float(error.max()):.2g}"
    return None
