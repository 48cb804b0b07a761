"""The changes of the target "mamba_ssm" for its Mamba-2 blocks."""

from __future__ import annotations

from evenfall.patches import Change

from ..ssm import convolution, dual, gated_norm, heads
from ..ssm.block import respecting_its_parts, stepping_its_parts
from ..standins.causal_conv1d.causal_conv1d_varlen import causal_conv1d_varlen_states
from .changes import always

_BLOCK, _SIMPLE = "mamba_ssm.modules.mamba2", "mamba_ssm.modules.mamba2_simple"
_OPS = "mamba_ssm.ops.triton.ssd_combined"
_NORM = "mamba_ssm.ops.triton.layernorm_gated"

_SCAN = (
    "x dt A B C chunk_size D z dt_bias initial_states seq_idx cu_seqlens dt_softplus dt_limit "
    "return_final_states return_varlen_states"
)
_SPLIT = (
    "zxbcdt conv1d_weight conv1d_bias dt_bias A D chunk_size initial_states seq_idx dt_limit "
    "return_final_states activation rmsnorm_weight rmsnorm_eps outproj_weight outproj_bias headdim "
    "ngroups norm_before_gate"
)
_RMS = "x weight bias z eps group_size norm_before_gate"

_FUNCTIONS = (
    ("mamba_chunk_scan_combined", dual.elsewhere(dual.mamba_chunk_scan_combined), _SCAN,
     (_OPS, _BLOCK, _SIMPLE)),
    ("mamba_split_conv1d_scan_combined", dual.elsewhere(dual.mamba_split_conv1d_scan_combined),
     _SPLIT, (_OPS, _BLOCK, _SIMPLE)),
    ("layernorm_fn", dual.elsewhere(gated_norm.layernorm_fn), f"{_RMS} is_rms_norm", (_NORM,)),
    ("rmsnorm_fn", dual.elsewhere(gated_norm.rmsnorm_fn), _RMS, (_NORM, _OPS)),
    # The functions of causal_conv1d are None if the host did not find it.
    ("causal_conv1d_fn", always(convolution.causal_conv1d_fn), None, (_BLOCK, _SIMPLE)),
    ("causal_conv1d_update", always(convolution.causal_conv1d_update), None, (_BLOCK,)),
    ("causal_conv1d_varlen_states", always(causal_conv1d_varlen_states), None, (_BLOCK,)),
    ("selective_state_update", always(heads.selective_state_update), None, (_BLOCK,)),
)  # fmt: skip

CHANGES = (
    *(
        Change(owner, name, make, None if parameters is None else tuple(parameters.split()))
        for name, make, parameters, owners in _FUNCTIONS
        for owner in owners
    ),
    Change(f"{_BLOCK}:Mamba2", "forward", respecting_its_parts),
    Change(f"{_BLOCK}:Mamba2", "step", stepping_its_parts),
    Change(f"{_SIMPLE}:Mamba2Simple", "forward", respecting_its_parts),
)
