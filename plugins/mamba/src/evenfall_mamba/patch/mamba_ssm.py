"""The target "mamba_ssm": the attributes that change in it and its stand-in modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evenfall.patches import Change, Target
from evenfall.standins import StandIns

from ..families import TESTED_MAMBA_SSM
from ..ssm import convolution, scan, step
from ..ssm.events import torch_with_events
from ..ssm.norm import on_any_device
from ..ssm.parts import calls_its_layers, steps_its_layers
from ..standins import MODULES
from . import mamba2_ssm
from .changes import always

_SCAN = "u delta A B C D z delta_bias delta_softplus return_last_state"
_INNER = (
    "xz conv1d_weight conv1d_bias x_proj_weight delta_proj_weight out_proj_weight out_proj_bias "
    "A B C D delta_bias B_proj_bias C_proj_bias delta_softplus checkpoint_lvl b_rms_weight "
    "c_rms_weight dt_rms_weight b_c_dt_rms_eps"
)
_STEP = "state x dt A B C D z dt_bias dt_softplus state_batch_indices"
_RMS = (
    "x weight bias residual x1 weight1 bias1 eps dropout_p rowscale prenorm residual_in_fp32 "
    "return_dropout_mask"
)
_LAYER = _RMS.replace("residual_in_fp32", "residual_in_fp32 is_rms_norm")

_INTERFACE = "mamba_ssm.ops.selective_scan_interface"
_SIMPLE = "mamba_ssm.modules.mamba_simple"
_STEP_MODULE = "mamba_ssm.ops.triton.selective_state_update"
_NORM = "mamba_ssm.ops.triton.layer_norm"
_BLOCK, _MIXER = "mamba_ssm.modules.block", "mamba_ssm.models.mixer_seq_simple"


def _each(
    name: str, make: Callable[[Any], Any], parameters: str | None, *owners: str
) -> tuple[Change, ...]:
    names = None if parameters is None else tuple(parameters.split())
    return tuple(Change(owner, name, make, names) for owner in owners)


# The functions of causal_conv1d are None if the host did not find it, so no signature is checked.
TARGET = Target(
    "mamba-ssm",
    TESTED_MAMBA_SSM,
    (
        *_each(
            "selective_scan_fn", always(scan.selective_scan_fn), _SCAN,
            "mamba_ssm", _INTERFACE, _SIMPLE,
        ),
        *_each(
            "mamba_inner_fn", always(scan.mamba_inner_fn), _INNER,
            "mamba_ssm", _INTERFACE, _SIMPLE,
        ),
        *_each(
            "causal_conv1d_fn", always(convolution.causal_conv1d_fn), None, _INTERFACE, _SIMPLE
        ),
        *_each("causal_conv1d_update", always(convolution.causal_conv1d_update), None, _SIMPLE),
        *_each(
            "selective_state_update", always(step.selective_state_update), _STEP,
            _STEP_MODULE, _SIMPLE,
        ),
        *_each("layer_norm_fn", on_any_device, _LAYER, _NORM, _BLOCK, _MIXER),
        *_each("torch", torch_with_events, None, "mamba_ssm.utils.generation"),
        *_each("rms_norm_fn", on_any_device, _RMS, _NORM, _MIXER),
        Change(
            f"{_SIMPLE}:Mamba", "forward", calls_its_layers,
            ("self", "hidden_states", "inference_params"),
        ),
        Change(
            f"{_SIMPLE}:Mamba", "step", steps_its_layers,
            ("self", "hidden_states", "conv_state", "ssm_state"),
        ),
        *mamba2_ssm.CHANGES,
    ),
    StandIns(MODULES, ("mamba_ssm", "causal_conv1d")),
)  # fmt: skip
