"""Lanes in flat memory: load, store, transpose 16 x 16 blocks, prefetch cache lines.

Memory is float32, or bfloat16 as uint16 (the upper half of a float32). bfloat16 is widened when
read and rounded to nearest even when written. Bounds are not checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .simd import WIDTH, lanes
from .stored_dtypes import constant

_FLOAT, _WORD, _HALF = ir.FloatType(), ir.IntType(32), ir.IntType(16)
_VECTOR, _BITS = ir.VectorType(_FLOAT, WIDTH), ir.VectorType(_WORD, WIDTH)
_HALVES = ir.VectorType(_HALF, WIDTH)


def _widen(builder: Any, halves: Any, word: Any, real: Any) -> Any:
    return builder.bitcast(builder.shl(builder.zext(halves, word), constant(word, 16)), real)


def _narrow(builder: Any, value: Any, word: Any, half: Any) -> Any:
    bits = builder.bitcast(value, word)
    upper = builder.lshr(bits, constant(word, 16))
    odd = builder.and_(upper, constant(word, 1))
    rounded = builder.lshr(
        builder.add(bits, builder.add(odd, constant(word, 0x7FFF))), constant(word, 16)
    )
    nan = builder.fcmp_unordered("uno", value, value)  # rounding could turn NaN into infinity
    quiet = builder.or_(upper, constant(word, 0x40))
    return builder.trunc(builder.select(nan, quiet, rounded), half)


def _read(builder: Any, bfloat16: bool, pointer: Any, vector: bool) -> Any:
    word, real, half = (_BITS, _VECTOR, _HALVES) if vector else (_WORD, _FLOAT, _HALF)
    if not bfloat16:
        return builder.load(builder.bitcast(pointer, real.as_pointer()), align=4)
    loaded = builder.load(builder.bitcast(pointer, half.as_pointer()), align=2)
    return _widen(builder, loaded, word, real)


def _write(builder: Any, bfloat16: bool, pointer: Any, value: Any, vector: bool) -> None:
    word, real, half = (_BITS, _VECTOR, _HALVES) if vector else (_WORD, _FLOAT, _HALF)
    if bfloat16:
        narrow = _narrow(builder, value, word, half)
        builder.store(narrow, builder.bitcast(pointer, half.as_pointer()), align=2)
    else:
        builder.store(value, builder.bitcast(pointer, real.as_pointer()), align=4)


def _is_bfloat16(array: Any) -> bool:
    return array.dtype == types.uint16


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def _reader(vector: bool, result: Any) -> Any:
    def read(typing_context: Any, memory: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = _address(context, builder, signature.args[0], *args)
            return _read(builder, _is_bfloat16(signature.args[0]), pointer, vector)

        return result(memory, types.intp), generate

    return read


def _writer(vector: bool, kind: Any) -> Any:
    def write(typing_context: Any, memory: Any, index: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = _address(context, builder, signature.args[0], *args[:2])
            _write(builder, _is_bfloat16(signature.args[0]), pointer, args[2], vector)
            return context.get_dummy_value()

        return types.void(memory, types.intp, kind), generate

    return write


load_at = intrinsic(_reader(True, lanes))  # memory[index : index + 16]
store_at = intrinsic(_writer(True, lanes))  # memory[index : index + 16] = value
load_one = intrinsic(_reader(False, types.float32))  # memory[index]
store_one = intrinsic(_writer(False, types.float32))  # memory[index] = value


@intrinsic
def prefetch(typing_context: Any, memory: Any, index: Any) -> Any:
    """Prefetch the cache line of memory[index]; index may be outside the array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _address(context, builder, signature.args[0], *args)
        address = builder.bitcast(pointer, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [address.type, *[_WORD] * 3])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        builder.call(hint, [address, _WORD(0), _WORD(3), _WORD(1)])
        return context.get_dummy_value()

    return types.void(memory, types.intp), generate


@intrinsic
def _transpose_block(
    typing_context: Any, source: Any, first: Any, stride: Any, target: Any, target_first: Any,
    target_stride: Any,
) -> Any:  # fmt: skip
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def rows(which: int) -> list[Any]:
            kind = signature.args[which]
            array, start, step = args[which : which + 3]
            indices = [builder.add(start, builder.mul(step, step.type(i))) for i in range(WIDTH)]
            return [_address(context, builder, kind, array, index) for index in indices]

        block = [_read(builder, _is_bfloat16(source), pointer, True) for pointer in rows(0)]
        for half in (8, 4, 2, 1):
            block = _exchange(builder, block, half)
        for value, pointer in zip(block, rows(3), strict=True):
            _write(builder, _is_bfloat16(target), pointer, value, True)
        return context.get_dummy_value()

    size = types.intp
    return types.void(source, size, size, target, size, size), generate


def _exchange(builder: Any, block: list[Any], half: int) -> list[Any]:
    """Swap the off-diagonal quarters of every (2 half, 2 half) square of the block."""
    low = [i if not i & half else WIDTH + i - half for i in range(WIDTH)]
    high = [i + half if not i & half else WIDTH + i for i in range(WIDTH)]
    result = list(block)
    for i in range(WIDTH):
        if not i & half:
            pair = block[i], block[i + half]
            result[i] = builder.shuffle_vector(*pair, ir.Constant(_BITS, low))
            result[i + half] = builder.shuffle_vector(*pair, ir.Constant(_BITS, high))
    return result


@njit(error_model="numpy", nogil=True)
def transpose_block(
    source: Any, first: int, stride: int, target: Any, target_first: int, target_stride: int
) -> None:
    """target[target_first + j target_stride + i] = source[first + i stride + j] for i, j < 16."""
    _transpose_block(source, first, stride, target, target_first, target_stride)
