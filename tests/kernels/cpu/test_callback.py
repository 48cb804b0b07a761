"""compiled_callback: a compiled function that is called by its address."""

from __future__ import annotations

import ctypes

from numba import types

from evenfall_kernels.cpu.compiled import compiled_callback


def add(a: int, b: int) -> int:
    """A function of two integers."""
    return a + b


def test_a_callback_is_called_by_its_address_and_comes_from_the_disk() -> None:
    signature = types.int64(types.int64, types.int64)
    callbacks = [compiled_callback(add, signature) for _ in range(2)]
    for callback in callbacks:
        call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(callback.address)
        assert call(3, 4) == 7
    assert callbacks[1].cache_hits == 1


def test_types_of_arguments_are_compiled_apart() -> None:
    callback = compiled_callback(add, types.float64(types.float64, types.float64))
    kind = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_double)
    assert kind(callback.address)(0.5, 0.25) == 0.75
