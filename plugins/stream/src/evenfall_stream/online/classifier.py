"""OnlineClassifier: an event stream classified while it comes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ..models.event_classifier import EventStreamClassifier
from . import flow as online_flow
from .events import EventReader, Ids, Times, advance_clock
from .state import pack, unpack, zero_state

BUFFER, PIECE = 1024, 8192


class OnlineClassifier:
    r"""Classify an event stream as it comes, by a trained :class:`EventStreamClassifier`.

    The state of every layer is carried from event to event, so that the memory is the same after
    hours as after the first event, and the logits are those of `model(x, pos)` for all events so
    far. A window of a pooling block that is not full counts as the model counts the last window of
    a recording; the stream itself goes on as if nobody had asked.

    Events are checked when they are pushed. They pass the model when there are 1024 of them, or
    when the logits or the state are asked for, because a call costs as much as hundreds of events.

    Args:
        model: in evaluation mode, forward in time, on any device.
        wrap: the period, in milliseconds, after which the sensor's clock starts again: a time that
            lies more than half of it before the last one belongs to the next period. None for a
            clock that never does; times that decrease are then an error.

    Raises:
        TypeError: model is not an EventStreamClassifier.
        ValueError: a model that looks ahead or is in training mode, or a period that is not
            positive.

    Example::

        stream = OnlineClassifier(model.eval())
        for x, pos in camera:  # (n, 1) polarities, (n, 3) milliseconds and pixels
            stream.push(x, pos)
            label = stream.logits().argmax()
    """

    def __init__(self, model: EventStreamClassifier, *, wrap: float | None = None) -> None:
        if not isinstance(model, EventStreamClassifier):
            raise TypeError(f"model must be an EventStreamClassifier, got {type(model).__name__}")
        if any(
            block.conv.bidirectional or len(block.conv.axes) != 1
            for stage in model.stages
            for block in (stage.pooling, *stage.blocks)
        ):
            raise ValueError("model must go forward along time alone, not in both directions")
        if wrap is not None and not 0 < wrap < math.inf:
            raise ValueError(f"wrap must be positive and finite, or None, got {wrap}")
        self.model, self.wrap = model, wrap
        self._read = EventReader(model.sensor_size, model.polarities)
        self._ids, self._times = np.empty(BUFFER, np.int64), np.empty(BUFFER)
        self.reset()

    def reset(self) -> None:
        """Forget all events, and take the model's weights and device as they are now.

        Raises:
            ValueError: the model is in training mode.
        """
        _check_mode(any(module.training for module in self.model.modules()))
        with torch.no_grad():
            self._table = self.model.embedding.vectors()
        self._state = zero_state(self.model)
        self._held = 0

    def push(self, x: Tensor, pos: Tensor) -> None:
        """The next events, any number of them.

        Args:
            x: (n, 1) polarities.
            pos: (n, 1 + k) times in milliseconds and sensor coordinates; float64 keeps the times
                of a long stream apart where float32 does not.

        Raises:
            ValueError: shapes that do not fit, times that are not finite or decrease, events
                outside the sensor, a model in training mode. The stream is then as before.
            TypeError: x or pos not floating point.
        """
        _check_mode(self.model.training)
        ids, raw = self._read(x, pos)
        if not len(ids):
            return
        clock, times = advance_clock(self._state.clock, raw, self.wrap)
        self._state = self._state._replace(clock=clock)
        start, self._held = self._held, self._held + len(ids)
        if self._held < BUFFER:
            self._ids[start : self._held], self._times[start : self._held] = ids, times
            return
        self._held = 0
        self._run(
            np.concatenate([self._ids[:start], ids]), np.concatenate([self._times[:start], times])
        )

    @torch.no_grad()
    def logits(self) -> Tensor:
        """(1, classes) for all events so far; those of no evidence before the first.

        Raises:
            ValueError: the model is in training mode.
        """
        self._drain()
        return online_flow.logits(self.model, online_flow.close(self.model, self._state).evidence)

    def state_dict(self) -> dict[str, Tensor]:
        """The stream as tensors, of the same names and shapes at any time.

        Raises:
            ValueError: the model is in training mode.
        """
        self._drain()
        return pack(self._state)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken, of this model or a copy of it.

        Raises:
            ValueError: tensors missing, unknown or of another shape.
        """
        self._state = unpack(self._state, state)
        self._held = 0

    def _drain(self) -> None:
        _check_mode(self.model.training)
        held, self._held = self._held, 0
        self._run(self._ids[:held], self._times[:held])

    @torch.no_grad()
    def _run(self, ids: Ids, times: Times) -> None:
        for start in range(0, len(ids), PIECE):
            piece = slice(start, start + PIECE)
            rows = torch.from_numpy(ids[piece]).to(self._table.device)
            x = nn.functional.embedding(rows, self._table)
            self._state = online_flow.advance(self.model, self._state, x, times[piece])


def _check_mode(training: bool) -> None:
    if training:
        raise ValueError("model must be in evaluation mode; call model.eval() first")
