"""N-MNIST's recordings: `.bin`, or `.bs2` in SLAYER's subset; the format is the same.

A file is a sequence of events of five bytes:

    byte 0        x
    byte 1        y
    byte 2, bit 7 polarity, 1 is ON
    bytes 2-4     time in microseconds, 23 bits, most significant first

A record with y = 240 is not an event: it adds 2**13 us to the clock.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .recording import Recording

NMNIST_CLOCK = 2**23
"""Period of the recording's clock in microseconds, if the file has no overflow records."""

_EVENT = 5
_OVERFLOW_Y, _OVERFLOW = 240, 2**13


def read_nmnist(source: str | Path | bytes) -> Recording:
    """Read the events of an N-MNIST file, without checks; see `check_recording`.

    Args:
        source: path of the file, or its bytes. An empty file is a recording without events.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the size is not a multiple of five bytes: the file is truncated or has another
            format.

    Source: Orchard et al., Converting static image datasets to spiking neuromorphic datasets
    using saccades, 2015.
    """
    raw = source if isinstance(source, bytes) else Path(source).read_bytes()
    if len(raw) % _EVENT:
        name = "source" if isinstance(source, bytes) else str(source)
        raise ValueError(
            f"{name} ends {len(raw) % _EVENT} bytes into event {len(raw) // _EVENT}, "
            f"but an N-MNIST event has {_EVENT} bytes"
        )
    columns = np.frombuffer(raw, np.uint8).reshape(-1, _EVENT).astype(np.int64)
    x, y, high, middle, low = columns.T
    t = (high & 127) << 16 | middle << 8 | low
    p = high >> 7
    if not (overflow := y == _OVERFLOW_Y).any():
        return Recording(t, x, y, p)
    t = t + _OVERFLOW * np.cumsum(overflow)
    return Recording(t[~overflow], x[~overflow], y[~overflow], p[~overflow])
