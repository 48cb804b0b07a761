"""OnlineClassifier: classifies an event stream while the events arrive."""

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
    r"""Classify an event stream while it arrives, with a trained :class:`EventStreamClassifier`.

    The state of every layer is carried along, so memory use is constant, and the logits equal
    those of `model(x, pos)` for all events so far. An incomplete window of a pooling block counts
    as the last window of a recording does. Reading the logits does not change the stream.

    `push` checks the events and buffers them. The model processes them when there are 1024, or when
    the logits or the state are read, because a call costs as much as hundreds of events.

    Args:
        model: in evaluation mode, forward in time, on any device.
        wrap: the period of the sensor's clock in milliseconds: a time more than half a period
            before the previous one belongs to the next period. None for a clock that does not wrap
            around; decreasing times are then an error.

    Raises:
        TypeError: model is not an EventStreamClassifier.
        ValueError: the model is bidirectional or in training mode, or wrap is not positive.

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
            raise ValueError("model must run forward in time, got a bidirectional model")
        if wrap is not None and not 0 < wrap < math.inf:
            raise ValueError(f"wrap must be positive and finite, or None, got {wrap}")
        self.model, self.wrap = model, wrap
        self._read = EventReader(model.sensor_size, model.polarities)
        self._ids: Ids = np.empty(BUFFER, np.int64)
        self._times: Times = np.empty(BUFFER)
        self.reset()

    def reset(self) -> None:
        """Forget all events, and use the current weights and device of the model.

        Raises:
            ValueError: the model is in training mode.
        """
        _check_mode(any(module.training for module in self.model.modules()))
        with torch.no_grad():
            self._table = self.model.embedding.table_of_a_stream()
        self._state = zero_state(self.model)
        self._buffer_length = 0

    def push(self, x: Tensor, pos: Tensor) -> None:
        """Add the next events, in any number.

        Args:
            x: (n, 1) polarities.
            pos: (n, 1 + k) times in milliseconds and sensor coordinates; use float64 for streams
                whose times exceed the precision of float32.

        Raises:
            ValueError: shapes do not match, times are not finite or decrease, an event is outside
                the sensor, or the model is in training mode. The stream does not change.
            TypeError: x or pos is not floating point.
        """
        _check_mode(self.model.training)
        ids, raw = self._read(x, pos)
        if not len(ids):
            return
        clock, times = advance_clock(self._state.clock, raw, self.wrap)
        self._state = self._state._replace(clock=clock)
        start = self._buffer_length
        end = start + len(ids)
        if end < BUFFER:
            self._ids[start:end], self._times[start:end] = ids, times
            self._buffer_length = end
            return
        self._buffer_length = 0
        self._run(
            np.concatenate([self._ids[:start], ids]), np.concatenate([self._times[:start], times])
        )

    @torch.no_grad()
    def logits(self) -> Tensor:
        """(1, classes) for all events so far; before the first, those of an all-zero feature.

        Raises:
            ValueError: the model is in training mode.
        """
        self._drain()
        return online_flow.logits(self.model, online_flow.close(self.model, self._state).evidence)

    def state_dict(self) -> dict[str, Tensor]:
        """The state of the stream as tensors, always with the same names and shapes.

        Raises:
            ValueError: the model is in training mode.
        """
        self._drain()
        return pack(self._state)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from the result of `state_dict`, of this model or a copy of it.

        Raises:
            ValueError: a tensor is missing, unknown or of another shape.
        """
        self._state = unpack(self._state, state)
        self._buffer_length = 0

    def _drain(self) -> None:
        _check_mode(self.model.training)
        length, self._buffer_length = self._buffer_length, 0
        self._run(self._ids[:length], self._times[:length])

    @torch.no_grad()
    def _run(self, ids: Ids, times: Times) -> None:
        for start in range(0, len(ids), PIECE):
            piece = slice(start, start + PIECE)
            rows = torch.from_numpy(ids[piece]).to(self.model.norm.weight.device)
            if self._table is None:
                x = self.model.embedding.vectors_of(rows)
            else:
                x = nn.functional.embedding(rows, self._table)
            self._state = online_flow.advance(self.model, self._state, x, times[piece])


def _check_mode(training: bool) -> None:
    if training:
        raise ValueError("model must be in evaluation mode; call model.eval() first")
