"""Operation counters of EGRU's modules, for `evenfall.counting`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenfall.counting import (
    Activity,
    Counter,
    Matrix,
    Operations,
    multiply,
    multiply_states,
)
from evenfall_kernels import egru_scan

_KERNEL = Matrix("kernel", 0, gates=3)
_RECURRENT = Matrix("recurrent_kernel", 0, "recurrent", gates=3)
_DECODER = Matrix("weight", 1)


def _layer(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    """The input matrix reads x, the recurrent matrix the outputs of the previous step."""
    y, (last, _), _ = output
    state = inputs.get("state")
    recurrent = multiply_states(
        y, None if state is None else state[0], last, _RECURRENT.of(module), 0
    )
    return multiply(inputs["x"], _KERNEL.of(module), 0) + recurrent


def _activity(module: Any, inputs: Mapping[str, Any], output: Any) -> Activity:
    """Silent: no event, and the cell so far from its threshold that the surrogate is 0 there."""
    config, state = module.config, inputs.get("state")
    if state is not None and config.carry == "output":
        state = (state[0], state[1].new_zeros(state[1].shape))
    threshold = module.threshold.clamp(0, 1)
    cells = egru_scan(
        inputs["x"], _KERNEL.of(module), _RECURRENT.of(module), module.bias, module.recurrent_bias,
        threshold, initial_state=state, zoneout=config.zoneout, support=config.support,
        dampening=config.dampening, variant=config.variant, return_cells=True,
        cu_seqlens=inputs.get("cu_seqlens"), event_driven=config.event_driven,
    ).cells  # fmt: skip
    silent = (config.support * (cells - threshold).abs() >= 1) & (cells <= threshold)
    y = output[0]
    return Activity(y.numel(), int((y == 0).sum()), int(silent.sum()))


EGRU_LAYER = Counter(
    lambda module: (_KERNEL, _RECURRENT),
    _layer,
    activity=_activity,
    compressible=True,
)
"""EgruLayer: W (inputs, 3 units) and R (units, 3 units)."""


def _decoder(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    return multiply(inputs["y"], _DECODER.of(module), 1)


EGRU_DECODER = Counter(lambda module: (_DECODER,), _decoder, compressible=True)
"""EgruDecoder: W (vocabulary, embedding)."""
