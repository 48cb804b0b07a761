"""The changes of the target "transformers" in the Mamba-2 families."""

from __future__ import annotations

from collections.abc import Iterator

from evenfall.patches import Change

from ..families import MAMBA2_FAMILIES, Mamba2Family
from ..huggingface import mamba2
from .changes import always, around_mixers

_SIGNATURES = {
    "causal_conv1d_fn": "hidden_states weight bias activation kwargs",
    "causal_conv1d_update": "hidden_states conv_state weight bias activation",
    "mamba2_split_conv1d_scan_combined": "zxbcdt conv1d_weight conv1d_bias dt_bias A D chunk_size "
    "initial_states dt_limit return_final_states activation rmsnorm_weight rmsnorm_eps "
    "outproj_weight outproj_bias headdim ngroups norm_before_gate kwargs",
    "mamba2_selective_state_update": "state hidden_states dt A B C D dt_bias dt_softplus z kwargs",
    "mamba2_chunk_scan": "hidden_states dt A B C chunk_size D dt_bias initial_states dt_softplus "
    "dt_limit return_final_states kwargs",
}


def _changes(family: Mamba2Family) -> Iterator[Change]:
    for name, parameters in _SIGNATURES.items():
        make = always(getattr(mamba2, name))
        yield Change(family.module, name, make, tuple(parameters.split()))
    yield from around_mixers(family)


CHANGES = tuple(change for family in MAMBA2_FAMILIES for change in _changes(family))
