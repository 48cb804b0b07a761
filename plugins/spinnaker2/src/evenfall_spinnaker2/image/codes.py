"""The numbers that stand for words in blobs, and the parameters of each kind of unit."""

from __future__ import annotations

UNIT_KINDS = {"egru": 1, "dense": 2, "if": 3, "lif": 4, "cuba_lif": 5}
MODES = {"events": 1, "gather": 2}
ARITHMETICS = {"float32": 1, "int8": 2}
PROJECTION_KINDS = {"dense": 1, "sparse": 2, "conv": 3}
WEIGHT_FORMATS = {"fp32": 1, "bf16": 2, "int8": 3}
WEIGHT_DTYPES = {"fp32": "<f4", "bf16": "<u2", "int8": "i1"}

FLAGS = {"relu": 1, "quantise": 2, "reset_subtract": 4, "scale": 8, "record_values": 16}

ACCUMULATORS = {"egru": 4, "dense": 1, "if": 1, "lif": 1, "cuba_lif": 1}
"""Accumulators of a unit. Those of EGRU are g (input), z, r, g (recurrent)."""

STATES = {
    "egru": ("h",),
    "dense": (),
    "if": ("v",),
    "lif": ("v",),
    "cuba_lif": ("i", "v"),
}
"""The state of a unit, float32 each."""

_FLOAT_PARAMETERS = {
    "egru": ("bias", "threshold"),
    "dense": ("bias",),
    "if": ("offset", "threshold", "reset"),
    "lif": ("alpha", "offset", "threshold", "reset"),
    "cuba_lif": ("bias", "beta", "alpha", "gain", "offset", "threshold", "reset"),
}


def parameter_layout(kind: str, arithmetic: str, has_scale: bool) -> dict[str, tuple[str, int]]:
    """The parameter arrays of a blob, in order: name -> (dtype, values a unit)."""
    if arithmetic == "int8":
        return {"bias": ("<i4", 1), "multiplier": ("<f4", 1)}
    per_unit = ACCUMULATORS[kind]
    layout = {"scale": ("<f4", per_unit)} if has_scale else {}
    for name in _FLOAT_PARAMETERS[kind]:
        layout[name] = ("<f4", per_unit if name == "bias" else 1)
    return layout
