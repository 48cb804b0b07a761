"""The parts of an EGRU model: one recurrent layer, locked dropout, the decoder.

Dimensions: B batch, T time, H units of a layer, E embedding, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_egru import EgruConfig
from .copies_egru import WeightCopy
from .fast_egru import settings_of
from .recording_egru import is_plain_graph
from .scan_egru import as_tensor, egru_scan, event_linear, skips_silent

# Other tensors, such as those of torchao, have operations of their own and few of PyTorch's.
PLAIN = (torch.Tensor, nn.Parameter)
LORA_TARGET_PARAMETERS = ["kernel", "recurrent_kernel"]
"""The matrices of a layer by name, for `target_parameters` of peft.LoraConfig."""


def locked_dropout(x: torch.Tensor, rate: float, cu_seqlens: torch.Tensor | None) -> torch.Tensor:
    """Dropout of x (B, T, F) with one mask per sequence, the same at every step."""
    if cu_seqlens is None:
        return x * F.dropout(x.new_ones(x.shape[0], 1, x.shape[-1]), rate)
    lengths = cu_seqlens.diff()
    mask = F.dropout(x.new_ones(len(lengths), x.shape[-1]), rate)
    return x * mask.repeat_interleave(lengths.to(x.device), 0, output_size=x.shape[1])[None]


class EgruLayer(GradientCheckpointingLayer):
    """One EGRU layer. Weights have the layout of the released checkpoints: gates z, r, g."""

    def __init__(self, config: EgruConfig, index: int):
        super().__init__()
        inputs = [config.embedding_size, *config.hidden_sizes][index]
        units = config.hidden_sizes[index]
        self.config, self.index, self.inputs, self.units = config, index, inputs, units
        self.kernel = nn.Parameter(torch.empty(inputs, 3 * units))
        self.recurrent_kernel = nn.Parameter(torch.empty(units, 3 * units))
        self.bias = nn.Parameter(torch.empty(3 * units))
        self.recurrent_bias = nn.Parameter(torch.empty(3 * units))
        self.threshold = nn.Parameter(torch.empty(units), requires_grad=config.threshold_trainable)

    def forward(
        self,
        x: torch.Tensor,
        state: tuple[torch.Tensor, torch.Tensor] | None,
        cu_seqlens: torch.Tensor | None,
        want_events: bool | str,
        want_states: bool = False,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], Any]:
        """x (B, T, inputs) -> y (B, T, units), the last (y, h), and the events if `want_events`, or
        a pair of events and cells if it is "cells".

        With `want_states`, the second result is (y, h) after each step, (B, T, units), instead.
        Changes no cache, since gradient checkpointing calls it twice with the same state.
        """
        config = settings_of(self.config)
        if state is not None and config.carry == "output":
            state = (state[0], torch.zeros_like(state[1]))
        mask = None
        if self.training and config.dropconnect and isinstance(self.recurrent_kernel, torch.Tensor):
            mask = F.dropout(torch.ones_like(self.recurrent_kernel), config.dropconnect)
        threshold = self.threshold.clamp(0, 1)
        out = egru_scan(
            x,
            self.kernel,
            self.recurrent_kernel,
            self.bias,
            self.recurrent_bias,
            threshold,
            initial_state=state,
            dropconnect_mask=mask,
            zoneout=config.zoneout,
            training=self.training,
            dampening=config.dampening,
            support=config.support,
            variant=config.variant,
            cu_seqlens=cu_seqlens,
            return_events=bool(want_events) or want_states,
            return_cells=want_states or want_events == "cells",
            event_driven=config.event_driven,
        )
        extra = (out.events, out.cells) if want_events == "cells" else out.events
        if not want_states:
            return out.y, out.state, extra
        reset = 0 if config.variant == "paper" else out.events * threshold
        states = out.events * out.cells, out.cells - reset
        return out.y, states, extra if want_events else None

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.units}"


class EgruDecoder(nn.Linear):
    """The output layer. Without gradient it reads only the weights of units that fired."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._by_unit = WeightCopy(_rows_by_unit)

    def forward(self, y: torch.Tensor, event_driven: bool = False) -> torch.Tensor:
        """y (..., E) -> (..., V). In a compressed model the weight is a StoredMatrix (E, V)."""
        if not isinstance(self.weight, torch.Tensor):
            if is_plain_graph():
                return F.linear(y, as_tensor(self.weight, y).t(), self.bias)
            return self.weight(y, self.bias)
        if event_driven and type(self.weight) in PLAIN and skips_silent(y):
            return event_linear(y, self.by_unit(), bias=self.bias)
        return super().forward(y)

    def by_unit(self) -> torch.Tensor:
        """A copy of the weight with a contiguous row per unit, (E, V), renewed when it changes.

        A float32 weight that is exact in bfloat16 is copied as bfloat16: half as many bytes are
        read, and the products are the same.
        """
        return self._by_unit.get(self.weight)

    def forget_changed_copy(self) -> None:
        """Make the copy again if any element of the weight has changed."""
        self._by_unit.forget_changed()

    def train(self, mode: bool = True) -> EgruDecoder:
        self._by_unit.forget()
        return super().train(mode)


def _rows_by_unit(weight: torch.Tensor) -> torch.Tensor:
    rows = weight.t().contiguous()
    low = rows.bfloat16() if rows.dtype == torch.float32 else rows
    return low if torch.equal(low.to(rows.dtype), rows) else rows


__all__ = ["LORA_TARGET_PARAMETERS", "PLAIN", "EgruDecoder", "EgruLayer", "locked_dropout"]
