"""Device functions shared by the Triton kernels of ssd_scan.

    T steps of a chunk   P channels of a head   N states

All sequences are one list of rows (a row is a step of a sequence), and chunks are numbered across
them; a chunk has no row of two sequences. Where a row, channel or state is not live, reads give 0.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def locate(begins, ends, heads, block_t: tl.constexpr):
    """The chunk and head of a program, the chunk's rows, and which of them are live."""
    program = tl.program_id(0)
    chunk, head = program // heads, program % heads
    rows = tl.load(begins + chunk) + tl.arange(0, block_t)
    return chunk.to(tl.int64), head, rows, rows < tl.load(ends + chunk)


@triton.jit
def read_steps(signal, rows, live, heads, head):
    """(T,) in float32, of a signal (rows, heads)."""
    return tl.load(signal + rows * heads + head, live, 0.0).to(tl.float32)


@triton.jit
def read_tile(signal, rows, live, parts, part, width, column):
    """(T, columns) in float32, of a signal (rows, parts, width)."""
    at = (rows * parts + part)[:, None] * width + column[None, :]
    return tl.load(signal + at, live[:, None] & (column < width)[None, :], 0.0).to(tl.float32)


@triton.jit
def write_tile(signal, value, rows, live, parts, part, width, column):
    """The reverse of read_tile, in the signal's dtype."""
    at = (rows * parts + part)[:, None] * width + column[None, :]
    inside = live[:, None] & (column < width)[None, :]
    tl.store(signal + at, value.to(signal.dtype.element_ty), inside)


@triton.jit
def state_cells(states, chunk, heads, head, channels, p, width, n):
    """Addresses (P, N) in states (chunks, heads, channels, width), and which are inside."""
    at = ((chunk * heads + head) * channels + p)[:, None] * width + n[None, :]
    return states + at, (p < channels)[:, None] & (n < width)[None, :]


@triton.jit
def add_pairs(high_1, low_1, high_2, low_2):
    """The sum of two numbers, each the sum of two float32, with the rounding error in `low`."""
    total = high_1 + high_2
    part = total - high_1
    error = (high_1 - (total - part)) + (high_2 - part)
    low = low_1 + low_2 + error
    high = total + low
    return high, low - (high - total)


@triton.jit
def sum_decays(log_decay, rows, live, heads, head):
    """The logarithm of the decay from the chunk's start to each step, as a sum of two float32.

    Their differences are exact: a large step does not blur the small ones after it.
    """
    step = read_steps(log_decay, rows, live, heads, head)
    return tl.associative_scan((step, tl.zeros_like(step)), 0, add_pairs)


@triton.jit
def last_of(value, block_t: tl.constexpr):
    """The last element of (T,)."""
    return tl.sum(tl.where(tl.arange(0, block_t) == block_t - 1, value, 0.0), 0)


@triton.jit
def decays_to_end(high, low, block_t: tl.constexpr):
    """(T,), the decays from each step, excluded, to the chunk's end."""
    return tl.exp((last_of(high, block_t) - high) + (last_of(low, block_t) - low))


@triton.jit
def decays_between(high, low, block_t: tl.constexpr):
    """(T, T), the decay to the row's step from the column's, 0 from later ones."""
    t = tl.arange(0, block_t)
    time = (high[:, None] - high[None, :]) + (low[:, None] - low[None, :])
    earlier = t[:, None] >= t[None, :]
    return tl.where(earlier, tl.exp(tl.where(earlier, time, 0.0)), 0.0)


@triton.jit
def dot(a, b, precision: tl.constexpr):
    """The product of two float32 matrices, "ieee" or "tf32"."""
    return tl.dot(a, b, input_precision=precision)
