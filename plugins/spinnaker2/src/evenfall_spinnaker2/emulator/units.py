"""What the units of a PE compute from their sums. Compiled by Numba.

Every operation rounds to float32, in the order of docs/spinnaker2-image.md and of the PE program.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..image.codes import FLAGS as FLAG_BITS
from ..image.codes import UNIT_KINDS
from . import columns as col
from .activations import sigmoid, tanh
from .columns import Tables
from .compiled import compiled
from .queues import shuffle_queue, sort_queue
from .sums import add_queue, add_queue_int8

_RELU, _QUANTISE = FLAG_BITS["relu"], FLAG_BITS["quantise"]
_SUBTRACT, _SCALE = FLAG_BITS["reset_subtract"], FLAG_BITS["scale"]
_EGRU, _DENSE, _IF = UNIT_KINDS["egru"], UNIT_KINDS["dense"], UNIT_KINDS["if"]
_LIF = UNIT_KINDS["lif"]
_ZERO, _ONE = np.float32(0), np.float32(1)
_LIMIT, _ROUNDER = np.float32(127), np.float32(12582912.0)  # 1.5 * 2^23


@compiled
def compute(tables: Tables, pes: Any, in_order: bool) -> None:
    """The first phase of a tick: these PEs take the events of their queues and compute.

    With `in_order`, events are added in ascending order of keys, else in a random order; int8 sums
    are always in order.
    """
    for pe in pes:
        if in_order or tables.pes[pe, col.IS_INT8]:
            sort_queue(tables, pe)
        else:
            shuffle_queue(tables, pe)
        first = tables.pes[pe, col.ACCUMULATOR]
        end = first + tables.pes[pe, col.UNITS] * tables.pes[pe, col.ACCUMULATORS]
        tables.accumulators[first:end] = _ZERO
        tables.short[first:end] = 0
        tables.long[first:end] = 0
        if tables.pes[pe, col.IS_INT8]:
            add_queue_int8(tables, pe)
            _int8(tables, pe)
            continue
        add_queue(tables, pe)
        parameter = tables.pes[pe, col.PARAMETER]
        if tables.pes[pe, col.FLAGS] & _SCALE:
            for at in range(end - first):
                scale = tables.parameters[parameter + at]
                tables.accumulators[first + at] = tables.accumulators[first + at] * scale
            parameter += end - first
        if tables.pes[pe, col.KIND] == _EGRU:
            _egru(tables, pe, parameter)
        elif tables.pes[pe, col.KIND] == _DENSE:
            _dense(tables, pe, parameter)
        else:
            _spiking(tables, pe, parameter)


@compiled
def _egru(tables: Tables, pe: int, parameter: int) -> None:
    n, p = tables.pes[pe, col.UNITS], tables.zoneout[pe]
    sums = tables.accumulators[tables.pes[pe, col.ACCUMULATOR] :]
    bias, threshold = tables.parameters[parameter:], tables.parameters[parameter + 4 * n :]
    h, y = tables.state[tables.pes[pe, col.STATE] :], tables.outputs[tables.pes[pe, col.UNIT] :]
    for j in range(n):
        z = sigmoid(sums[n + j] + bias[n + j])
        r = sigmoid(sums[2 * n + j] + bias[2 * n + j])
        recurrent = sums[3 * n + j] + bias[3 * n + j]
        g = tanh((sums[j] + bias[j]) + r * recurrent)
        c = z * h[j] + (_ONE - z) * g
        if p > _ZERO:
            c = p * h[j] + (_ONE - p) * c
        if c > threshold[j]:
            y[j] = c
            h[j] = c - threshold[j]
        else:
            y[j] = _ZERO
            h[j] = c


@compiled
def _dense(tables: Tables, pe: int, parameter: int) -> None:
    sums, bias = (
        tables.accumulators[tables.pes[pe, col.ACCUMULATOR] :],
        tables.parameters[parameter:],
    )
    y = tables.outputs[tables.pes[pe, col.UNIT] :]
    for j in range(tables.pes[pe, col.UNITS]):
        value = sums[j] + bias[j]
        if tables.pes[pe, col.FLAGS] & _RELU and not value > _ZERO:
            value = _ZERO
        y[j] = value


@compiled
def _int8(tables: Tables, pe: int) -> None:
    first, unit = tables.pes[pe, col.ACCUMULATOR], tables.pes[pe, col.UNIT]
    flags, parameter = tables.pes[pe, col.FLAGS], tables.pes[pe, col.PARAMETER]
    lowest = _ZERO if flags & _RELU else -_LIMIT
    for j in range(tables.pes[pe, col.UNITS]):
        total = np.int32(tables.long[first + j] + tables.biases[unit + j])
        y = np.float32(total) * tables.parameters[parameter + j]
        if flags & _QUANTISE:
            y = lowest if y < lowest else y
            y = _LIMIT if y > _LIMIT else y
            y = (y + _ROUNDER) - _ROUNDER
        elif flags & _RELU and not y > _ZERO:
            y = _ZERO
        tables.outputs[unit + j] = y


@compiled
def _spiking(tables: Tables, pe: int, parameter: int) -> None:
    n, kind = tables.pes[pe, col.UNITS], tables.pes[pe, col.KIND]
    subtract = tables.pes[pe, col.FLAGS] & _SUBTRACT
    sums = tables.accumulators[tables.pes[pe, col.ACCUMULATOR] :]
    state, y = tables.state[tables.pes[pe, col.STATE] :], tables.outputs[tables.pes[pe, col.UNIT] :]
    values = tables.parameters[parameter:]
    shift = 0 if kind == _IF else n if kind == _LIF else 4 * n  # arrays before `offset`
    place = 0 if kind in (_IF, _LIF) else n  # of v in the state
    for j in range(n):
        v, offset = state[place + j], values[shift + j]
        threshold, reset = values[shift + n + j], values[shift + 2 * n + j]
        if kind == _IF:
            v = (v + offset) + sums[j]
        elif kind == _LIF:
            v = (values[j] * v + offset) + sums[j]
        else:
            current = values[n + j] * state[j] + (sums[j] + values[j])
            state[j] = current
            v = (values[2 * n + j] * v + offset) + values[3 * n + j] * current
        fires = v >= threshold
        if fires:
            v = v - threshold if subtract else reset
        state[place + j] = v
        y[j] = _ONE if fires else _ZERO
