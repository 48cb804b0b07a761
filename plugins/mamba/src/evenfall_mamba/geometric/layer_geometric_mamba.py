r"""The layer of a transformers Mamba whose state decays with the time between tokens.

    B batch   L tokens   D channels   N states   W filter width

For a channel d with scale s and tokens at coordinates x:

.. math::
    h_k = e^{s_d (x_k - x_{k-1}) A} h_{k-1} + \Delta_k B_k u_k

The decay is STREAM's (arXiv 2411.12603); all else is Mamba's (arXiv 2312.00752).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.cache_utils import Cache
from transformers.integrations.accelerate import force_accelerate_hooks
from transformers.models.mamba.modeling_mamba import MambaBlock, MambaMixer

from evenfall_kernels import selective_scan

from ..huggingface.adapted import adapted_layer
from ..huggingface.operations import convolve
from ..huggingface.padding import NO_STEP, close_gaps, open_gaps, real_tokens
from ..huggingface.state import recurrent_state, store_last_inputs
from ..ssm.called import calling
from .configuration_geometric_mamba import GeometricMambaConfig


class GeometricMambaMixer(MambaMixer):
    """Mamba's mixer on Evenfall's kernels, with time steps in the decay.

    It keeps its state between calls. Its parameters are Mamba's and `step_bias` (D,), whose
    softplus, divided by `config.coordinate_unit`, is the scale s.
    """

    def __init__(self, config: GeometricMambaConfig, layer_idx: int):
        super().__init__(config, layer_idx, initialize_mixer_weights=False)
        self.step_bias = nn.Parameter(torch.empty(self.intermediate_size))

    @force_accelerate_hooks(["conv1d", "dt_proj"])
    def forward(
        self,
        hidden_states: Tensor,
        cache: Cache | None = None,
        attention_mask: Tensor | None = None,
        steps: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """(B, L, hidden) -> (B, L, hidden); `steps` (B, L) in coordinate units, or None."""
        real = real_tokens(attention_mask, hidden_states.shape[1])
        x, gate = self.in_proj(hidden_states).transpose(1, 2).chunk(2, dim=1)  # (B, D, L)
        state = recurrent_state(cache, self.layer_idx)
        x = self._convolve(x, cache, real).transpose(1, 2)
        sizes = [self.time_step_rank, self.ssm_state_size, self.ssm_state_size]
        rank, B, C = torch.split(self.x_proj(x), sizes, dim=-1)
        delta, bias = self._project_delta(rank)
        y, state = selective_scan(
            x.transpose(1, 2),
            delta if real is None else torch.where(real[:, None], delta, NO_STEP),
            -torch.exp(self.A_log.float()),
            B.transpose(1, 2),
            C.transpose(1, 2),
            self.D.float(),
            gate,
            bias,
            delta_softplus=True,
            return_last_state=True,
            step=steps,
            step_scale=None if steps is None else self.step_scale(),
            initial_state=state,
        )
        if cache is not None:
            cache.update_recurrent_state(state, self.layer_idx)
        return self.out_proj(y.transpose(1, 2).to(hidden_states.dtype))

    def _project_delta(self, rank: Tensor) -> tuple[Tensor, Tensor | None]:
        """delta (B, D, L) and its bias, None if delta contains it; calls an adapted layer."""
        layer = adapted_layer(self.dt_proj)
        if layer is None:
            return self.dt_proj.weight @ rank.transpose(1, 2), self.dt_proj.bias.float()
        return layer(rank).transpose(1, 2), None

    def step_scale(self) -> Tensor:
        """The scale s of each channel, (D,), float32, in 1 / the unit of the coordinates."""
        return F.softplus(self.step_bias.float()) / self.config.coordinate_unit

    def _convolve(self, x: Tensor, cache: Cache | None, real: Tensor | None) -> Tensor:
        """(B, D, L) -> (B, D, L); `real` (B, L) is false for padding, None without any."""
        length, width = x.shape[2], self.conv_kernel_size
        x = x if real is None else close_gaps(real, x)
        if cache is not None:
            x = cache.update_conv_state(x, self.layer_idx, conv_kernel_size=width)
            if real is not None:
                store_last_inputs(cache.layers[self.layer_idx].conv_states[0], x, real)
        weight, bias = self.conv1d.weight.squeeze(1), self.conv1d.bias
        with calling(adapted_layer(self.conv1d)):
            out = convolve(x, weight, bias, self.activation)[..., -length:]
        return out if real is None else open_gaps(real, out)


class GeometricMambaBlock(MambaBlock):
    """Mamba's block, which passes the steps to its mixer."""

    def __init__(self, config: GeometricMambaConfig, layer_idx: int):
        super().__init__(config, layer_idx)
        self.mixer = GeometricMambaMixer(config, layer_idx)

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Tensor:
        """(B, L, hidden) -> (B, L, hidden); `kwargs` go to the mixer."""
        residual = hidden_states.float() if self.residual_in_fp32 else hidden_states
        return residual + self.mixer(self.norm(hidden_states.to(self.norm.weight.dtype)), **kwargs)
