"""A quicker interpreter of Triton, for tests of kernels under TRITON_INTERPRET=1.

Triton's own interpreter runs `tl.associative_scan` element by element: the scan of a tile of 16
rows and 128 steps calls the combining function 2,032 times with scalars. Here it takes 7 calls with
whole tiles. The elements are combined in a tree, as on a GPU, where Triton's interpreter combines
them one after the other; so a function that is not associative gives other results here too.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np


def quicken_interpreter() -> None:
    """Let Triton's interpreter scan whole tiles at once and call functions at less cost.

    It stays so for the rest of the process.
    A Triton whose interpreter has other parts stays as it is: slow, and right.
    """
    from triton.runtime import interpreter

    if hasattr(getattr(interpreter, "ScanOps", None), "generic_scan"):
        interpreter.ScanOps.generic_scan = _scan
    if hasattr(interpreter, "_patch_builtin") and hasattr(interpreter, "_patch_attr"):
        interpreter._patch_builtin = _patch_builtin


def _scan(operation: Any, inputs: tuple[Any, ...]) -> list[Any]:
    """Kogge and Stone's scan: after k rounds, position i holds the last 2^k elements combined."""
    values = [one.handle.data for one in inputs]
    axis, shape = operation.axis, values[0].shape
    places = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    distance = 1
    while distance < shape[axis]:
        # What wraps around at the beginning is computed and then left out: Triton's tiles have
        # powers of two as sizes, so no shorter tile can be combined.
        earlier = [np.roll(value, distance, axis) for value in values]
        tiles = [
            operation.to_tensor(value, one.dtype)
            for part in (earlier, values)
            for value, one in zip(part, inputs, strict=True)
        ]
        combined = operation.combine_fn.fn(*tiles)
        results = combined if isinstance(combined, tuple) else (combined,)
        values = [
            np.where(places < distance, value, _array(result)).astype(value.dtype)
            for value, result in zip(values, results, strict=True)
        ]
        distance *= 2
    return [
        operation.to_tensor(value, one.dtype) for value, one in zip(values, inputs, strict=True)
    ]


def _array(result: Any) -> Any:
    """The array of a tile; a constant as it is."""
    return result.handle.data if hasattr(result, "handle") else result


def _patch_builtin(package: Any, builder: Any, scope: Any) -> None:
    """Triton's own, which at each call of a device function looks at every member of a package."""
    from triton.language.core import is_builtin
    from triton.runtime import interpreter

    for name in _builtin_names(package):
        member = getattr(package, name)
        if is_builtin(member):  # not where the kernel that calls has patched it
            interpreter._patch_attr(package, name, member, builder, scope)


@functools.cache
def _builtin_names(package: Any) -> tuple[str, ...]:
    from triton.language.core import is_builtin

    return tuple(name for name, member in inspect.getmembers(package) if is_builtin(member))
