"""Stand-in for `causal_conv1d.causal_conv1d_interface`."""

from __future__ import annotations

from evenfall_mamba.ssm.convolution import causal_conv1d_fn, causal_conv1d_update
from evenfall_mamba.ssm.convolution_reference import causal_conv1d_ref, causal_conv1d_update_ref

__all__ = [
    "causal_conv1d_fn",
    "causal_conv1d_ref",
    "causal_conv1d_update",
    "causal_conv1d_update_ref",
]
