"""Instructions of AVX-512 on Lanes, for processors that have them.

The cache of compiled code has an entry for each set of features of a processor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from .simd import WIDTH, lanes

_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
HAS_AVX512: bool = {"+avx512f", "+avx512dq"} <= set(_FEATURES)
"""Whether Numba compiles for a processor with these instructions."""

_FLOAT, _WORD, _MASK = ir.FloatType(), ir.IntType(32), ir.IntType(WIDTH)
_VECTOR = ir.VectorType(_FLOAT, WIDTH)
_NONE, _ALL = ir.Constant(_VECTOR, ir.Undefined), _MASK(-1)
_ZEROS = ir.Constant(_VECTOR, [0.0] * WIDTH)
_NEAREST, _CURRENT = _WORD(0), _WORD(4)  # rounding to an integer, and of a result


def _call(builder: Any, name: str, *arguments: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [argument.type for argument in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, arguments)


def _defined(count: int, generate: Callable[..., Any]) -> Any:
    """An intrinsic of `count` Lanes."""

    def generator(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return generate(builder, *args)

    if count == 1:
        return intrinsic(lambda typing_context, a: (lanes(lanes), generator))
    return intrinsic(lambda typing_context, a, b: (lanes(lanes, lanes), generator))


def _fraction(builder: Any, value: Any) -> Any:
    name = "llvm.x86.avx512.mask.reduce.ps.512"
    return _call(builder, name, value, _NEAREST, _NONE, _ALL, _CURRENT)


def _scaled(builder: Any, value: Any, power: Any) -> Any:
    # Lanes with a tiny result are masked: the processor takes a hundred cycles to make it.
    least = ir.Constant(_VECTOR, [-126.0] * WIDTH)
    mask = builder.bitcast(builder.fcmp_unordered(">=", power, least), _MASK)
    name = "llvm.x86.avx512.mask.scalef.ps.512"
    return _call(builder, name, value, power, _ZEROS, mask, _CURRENT)


def _estimate(builder: Any, value: Any) -> Any:
    return _call(builder, "llvm.x86.avx512.rcp14.ps.512", value, _NONE, _ALL)


fraction = _defined(1, _fraction)  # value - the nearest integer, which is even at a half
scaled = _defined(2, _scaled)  # value * 2^power for an integer power, 0 if that is below -126
reciprocal_estimate = _defined(1, _estimate)  # 1 / value with a relative error below 2^-14
