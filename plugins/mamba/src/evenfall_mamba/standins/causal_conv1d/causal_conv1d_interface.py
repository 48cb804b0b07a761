"""Stand-in for `causal_conv1d.causal_conv1d_interface`."""

from __future__ import annotations

from evenfall_mamba.ssm.convolution import causal_conv1d_fn, causal_conv1d_update

__all__ = ["causal_conv1d_fn", "causal_conv1d_update"]
