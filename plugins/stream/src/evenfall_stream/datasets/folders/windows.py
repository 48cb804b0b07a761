"""Windows of a long recording.

N events
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from evenfall.errors import shorten

from ..readers import Recording

MOST_WINDOWS = 1_000_000
"""Of one recording; a wrong clock asks for more."""


class Window(NamedTuple):
    """A part of a recording: the events from `first` up to `last`, without it.

    Attributes:
        start: since the first event of the recording, milliseconds.
        first: index of its first event.
        last: index after its last event.
    """

    start: float
    first: int
    last: int

    def of(self, recording: Recording) -> Recording:
        """Its events."""
        t, x, y, p = recording
        part = slice(self.first, self.last)
        return Recording(t[part], x[part], None if y is None else y[part], p[part])


def check_window(window: float | None, hop: float | None) -> tuple[int, int] | None:
    """The window and the hop in microseconds; None for no windows.

    Raises:
        ValueError: a length is not positive, or there is a hop without a window.
    """
    if window is None:
        if hop is not None:
            raise ValueError(f"hop needs a window, got hop {hop} and no window")
        return None
    hop = window if hop is None else hop
    for name, length in (("window", window), ("hop", hop)):
        if type(length) not in (int, float) or not 1e-3 <= length < 1e12:
            raise ValueError(
                f"{name} must be a positive number of milliseconds, got {shorten(length)}"
            )
    return round(1000 * window), round(1000 * hop)


def cut_windows(t: np.ndarray, window: int, hop: int) -> Iterator[Window]:
    """The windows [k hop, k hop + window) since the first event, up to the first one that reaches
    the last event, or the last one that begins before it.

    Args:
        t: (N,) int64 times in microseconds, not decreasing. A recording shorter than the window is
            one window, an empty one has none.
        window: length in microseconds.
        hop: from one start to the next, microseconds.

    Raises:
        ValueError: there are more than `MOST_WINDOWS`.
    """
    if not len(t):
        return
    duration = int(t[-1] - t[0])
    count = 1 if duration < window else min((duration - window) // hop + 2, duration // hop + 1)
    if count > MOST_WINDOWS:
        raise ValueError(
            f"a recording must have at most {MOST_WINDOWS:,} windows, got {count:,} in "
            f"{duration / 1e6:,.0f} s"
        )
    starts: np.ndarray = int(t[0]) + hop * np.arange(count, dtype=np.int64)
    firsts, lasts = (np.asarray(np.searchsorted(t, one)) for one in (starts, starts + window))
    for number, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        yield Window(number * hop / 1000, int(first), int(last))
