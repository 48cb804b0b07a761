"""What a call returns of each layer besides its output: events, cells, traces, penalties.

Dimensions: B batch, T time, H units of a layer, N tokens of all texts end to end.
"""

from __future__ import annotations

from typing import Any

import torch

from .configuration_egru import short
from .padding_egru import Whole

TRACE_DECAY = 0.9
_CHUNK = 64  # steps of a trace at once


class LayerRecord:
    """Collects the results of the layers of one call.

    Args:
        config: the model's configuration.
        layout: how the call removes padding.
        events: whether events and activity are wanted.
        cells: whether cells are wanted.
        traces: whether traces are wanted.
        penalty: whether the penalties of the configuration are wanted.
    """

    def __init__(
        self, config: Any, layout: Whole, events: bool, cells: bool, traces: bool, penalty: bool
    ) -> None:
        self.config, self.layout, self.events, self.cells = config, layout, events, cells
        self.traces, self.penalty = traces, penalty and has_penalty(config)
        of_events = self.penalty and bool(config.activity_regularization)
        of_cells = self.penalty and bool(getattr(config, "cell_regularization", 0.0))
        self.wanted: bool | str = "cells" if cells or of_cells else events or of_events
        self.lists: dict[str, list[torch.Tensor]] = {
            name: [] for name in ("activity", "events", "cells", "traces")
        }
        self.total: Any = 0.0

    def add(self, layer: Any, y: torch.Tensor, extra: Any) -> None:
        """Add the output y of a layer, (B, T, H) or (1, N, H), and what it returned besides: events
        or, if `wanted` is "cells", the pair of events and cells."""
        events, cells = extra if self.wanted == "cells" else (extra, None)
        layout, lists = self.layout, self.lists
        if events is not None:
            lists["activity"].append(layout.mean(events))
        if self.events:
            lists["events"].append(layout.unpack(events))
        if self.cells:
            lists["cells"].append(layout.unpack(cells))
        if self.traces:
            lists["traces"].append(layout.unpack(event_trace(y, cu_seqlens=layout.cu_seqlens)))
        if self.penalty:
            self.total = self.total + self._penalty(layer, y, events, cells)

    def _penalty(self, layer: Any, y: torch.Tensor, events: Any, cells: Any) -> Any:
        config, mean, total = self.config, self.layout.mean, 0.0
        if config.activity_regularization:
            rate, target = self.lists["activity"][-1], getattr(config, "activity_target", None)
            if target is not None:
                rate = (self._rates(events) - target).square().mean()
            total = total + config.activity_regularization * rate
        if getattr(config, "cell_regularization", 0.0):
            threshold = layer.threshold.clamp(0, 1)
            outside = (cells - threshold).relu().square() + (-cells - threshold).relu().square()
            total = total + config.cell_regularization * mean(outside)
        if layer.index == config.num_hidden_layers - 1:
            if config.output_regularization:
                total = total + config.output_regularization * mean(y.square())
            if config.slowness_regularization:
                change = self.layout.mean_change(y)
                total = total + config.slowness_regularization * change
        return total

    def _rates(self, events: torch.Tensor) -> torch.Tensor:
        """The mean event rate of each unit over the real tokens, (H,)."""
        ones = torch.ones_like(events[..., :1])
        tokens = self.layout.unpack(ones).sum()
        return self.layout.unpack(events).flatten(0, -2).sum(0) / tokens.clamp(min=1)

    def outputs(self) -> dict[str, Any]:
        """The fields of the model's output."""
        fields = {name: tuple(results) or None for name, results in self.lists.items()}
        return {**fields, "penalty": self.total if self.penalty else None}


def has_penalty(config: Any) -> bool:
    """Whether the configuration adds a penalty to the training loss."""
    names = ("activity", "cell", "output", "slowness")
    return any(getattr(config, f"{name}_regularization", 0.0) for name in names)


def event_trace(
    y: torch.Tensor,
    initial: torch.Tensor | None = None,
    *,
    decay: float = TRACE_DECAY,
    cu_seqlens: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""A slow average of a layer's output, which keeps what silent units sent before.

    .. math:: e_t = d \, e_{t-1} + (1 - d) \, y_t

    Args:
        y: (B, T, H), or (1, N, H) with `cu_seqlens`.
        initial: the trace before the first step, (B, H); None means zeros. To continue a text, pass
            the last step of its trace. Not with `cu_seqlens`.
        decay: d, in [0, 1).
        cu_seqlens: the bounds of packed texts; each begins at zero.

    Returns:
        The trace after each step, with the shape of y.

    Raises:
        ValueError: a decay out of range, or `initial` together with `cu_seqlens`.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay must lie in [0, 1), got {short(decay)}")
    if initial is not None and cu_seqlens is not None:
        raise ValueError("initial cannot be combined with cu_seqlens: packed texts begin at zero")
    steps, exact = y.shape[1], torch.promote_types(y.dtype, torch.float32)
    last = y.new_zeros(y.shape[0], y.shape[2], dtype=exact) if initial is None else initial
    last = last.to(exact)
    text = torch.zeros(steps, dtype=torch.long, device=y.device)
    if cu_seqlens is not None:
        ends = cu_seqlens[1:].to(y.device)
        text = torch.searchsorted(ends, torch.arange(steps, device=y.device), right=True)
    chunks = []
    for first in range(0, steps, _CHUNK):
        part, own = y[:, first : first + _CHUNK], text[first : first + _CHUNK]
        step = torch.arange(part.shape[1], device=y.device, dtype=exact)
        age = step[:, None] - step
        reads = (age >= 0) & (own[:, None] == own)
        weights = (1 - decay) * decay ** age.clamp(min=0) * reads
        trace = weights @ part.to(exact)
        before = text[first - 1] if first else own[0]
        kept = decay ** (step + 1) * (own == before)
        trace = trace + kept[:, None] * last[:, None]
        last = trace[:, -1]
        chunks.append(trace.to(y.dtype))
    return torch.cat(chunks, 1) if chunks else y


__all__ = ["LayerRecord", "event_trace", "has_penalty"]
