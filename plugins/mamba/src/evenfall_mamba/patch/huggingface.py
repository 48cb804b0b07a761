"""The target "transformers" and the attributes that change in it."""

from __future__ import annotations

from collections.abc import Iterator

from evenfall.patches import Change, Target

from ..families import FAMILIES, TESTED_TRANSFORMERS, Family
from ..huggingface import operations
from ..huggingface.replay import replays_as_patched
from ..huggingface.state import with_state_record
from . import mamba2
from .changes import always, around_mixers

_INNER = (
    "xz conv1d_weight conv1d_bias x_proj_weight delta_proj_weight out_proj_weight out_proj_bias "
    "A B C D delta_bias delta_softplus b_rms_weight c_rms_weight dt_rms_weight b_c_dt_rms_eps "
    "kwargs"
)
_SIGNATURES = {
    "causal_conv1d_fn": "hidden_states weight bias activation kwargs",
    "causal_conv1d_update": "hidden_states conv_state weight bias activation",
    "mamba_inner_fn": _INNER,
    "mamba_selective_scan": "hidden_states dt A B C D z delta_bias delta_softplus "
    "return_last_state use_mambapy use_associative_scan kwargs",
    "mamba_selective_state_update": "state hidden_states dt A B C D dt_bias dt_softplus z kwargs",
}
_CACHE = Change(
    "transformers.cache_utils:Cache",
    "update_conv_state",
    with_state_record,
    ("self", "conv_states", "layer_idx", "state_idx", "kwargs"),
)
_LAYER = Change(
    "transformers.modeling_layers:GradientCheckpointingLayer", "__call__", replays_as_patched
)


def _changes(family: Family) -> Iterator[Change]:
    for name, parameters in _SIGNATURES.items():
        if name != "mamba_inner_fn" or family.fused:
            make = always(getattr(operations, name))
            yield Change(family.module, name, make, tuple(parameters.split()))
    yield from around_mixers(family)


TARGET = Target(
    "transformers",
    TESTED_TRANSFORMERS,
    (
        _CACHE,
        _LAYER,
        *(change for family in FAMILIES for change in _changes(family)),
        *mamba2.CHANGES,
    ),
)
