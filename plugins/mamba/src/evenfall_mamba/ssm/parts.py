"""A Mamba block that calls its layers instead of reading their weights, for adapters and hooks.

The blocks of mamba_ssm multiply by the weights of their layers. An adapter such as LoRA, or a hook,
would have no effect and get no gradient.

B batch   L steps   D channels   E model width   N states   W filter width   R rank of delta
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from .called import is_plain
from .convolution import causal_conv1d_fn, causal_conv1d_update
from .scan import scan_with_last_state
from .step import selective_state_update


def calls_its_layers(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `Mamba.forward`: the original if each layer is plain."""

    @functools.wraps(forward)
    def wrapper(self: Any, hidden_states: Tensor, inference_params: Any = None) -> Any:
        layers = self.in_proj, self.conv1d, self.x_proj, self.dt_proj, self.out_proj
        if all(is_plain(layer) for layer in layers):
            return forward(self, hidden_states, inference_params)
        if inference_params is not None and inference_params.seqlen_offset > 0:
            return forward(self, hidden_states, inference_params)  # which calls `step`
        states = None
        if inference_params is not None:
            states = self._get_states_from_cache(inference_params, len(hidden_states))
        return run_layers(self, hidden_states, states)

    return wrapper


def steps_its_layers(step: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `Mamba.step`, which calls every layer except `conv1d` and `dt_proj`."""

    @functools.wraps(step)
    def wrapper(self: Any, hidden_states: Tensor, conv_state: Tensor, ssm_state: Tensor) -> Any:
        if is_plain(self.conv1d) and is_plain(self.dt_proj):
            return step(self, hidden_states, conv_state, ssm_state)
        return step_layers(self, hidden_states, conv_state, ssm_state)

    return wrapper


def run_layers(block: Any, hidden_states: Tensor, states: tuple[Tensor, Tensor] | None) -> Tensor:
    """(B, L, E) -> (B, L, E); writes the last inputs (B, D, W) and the last state (B, D, N)."""
    length = hidden_states.shape[1]
    x, z = block.in_proj(hidden_states).transpose(1, 2).chunk(2, dim=1)  # (B, D, L)
    if states is not None:
        states[0].copy_(F.pad(x, (block.d_conv - length, 0)))
    convolution = block.conv1d
    if is_plain(convolution):
        x = causal_conv1d_fn(x, convolution.weight[:, 0], convolution.bias, activation="silu")
    else:
        x = block.act(convolution(x)[..., :length])
    delta, bias, B, C = _project(block, x.transpose(1, 2))
    signals = (delta, B, C)
    delta, B, C = (signal.transpose(1, 2) for signal in signals)
    y, last = scan_with_last_state(
        x, delta, -block.A_log.float().exp(), B, C, block.D.float(), z, bias, True
    )
    if states is not None:
        states[1].copy_(last)
    out: Tensor = block.out_proj(y.transpose(1, 2))
    return out


def step_layers(
    block: Any, hidden_states: Tensor, conv_state: Tensor, ssm_state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One token, (B, 1, E) -> (B, 1, E); changes both states in place and returns them.

    Raises:
        ValueError: there are other than one token.
    """
    if hidden_states.shape[1] != 1:
        got = tuple(hidden_states.shape)
        raise ValueError(f"hidden_states must have shape (batch, 1, width), got {got}")
    x, z = block.in_proj(hidden_states[:, 0]).chunk(2, dim=-1)  # (B, D)
    convolution = block.conv1d
    if is_plain(convolution):
        filters = convolution.weight[:, 0], convolution.bias
        x = causal_conv1d_update(x, conv_state, *filters, block.activation)
    else:
        conv_state.copy_(conv_state.roll(-1, dims=-1))
        conv_state[..., -1] = x
        x = block.act(convolution(conv_state)[..., block.d_conv - 1])
    delta, bias, B, C = _project(block, x)
    y = selective_state_update(
        ssm_state, x, delta, -block.A_log.float().exp(), B, C, block.D, z, bias, dt_softplus=True
    )
    return block.out_proj(y)[:, None], conv_state, ssm_state


def _project(block: Any, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """delta (..., D), its bias unless delta contains it, B and C (..., N), of x (..., D)."""
    sizes = [block.dt_rank, block.d_state, block.d_state]
    rank, B, C = block.x_proj(x).split(sizes, dim=-1)
    layer = block.dt_proj
    if is_plain(layer):
        return F.linear(rank, layer.weight), layer.bias.float(), B, C
    return layer(rank), None, B, C
