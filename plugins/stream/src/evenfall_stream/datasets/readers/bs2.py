"""N-MNIST's recordings: `.bin` as published, `.bs2` as SLAYER's subset names them; one format.

An event is five bytes, N of them a file:

    byte 0        x
    byte 1        y
    byte 2, bit 7 polarity, 1 is ON
    bytes 2-4     time in microseconds, 23 bits, the highest first

An event with y = 240 is no event: it says that the clock has gone on by 2**13 us unseen.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .recording import Recording

NMNIST_CLOCK = 2**23
"""Microseconds after which the clock of a recording starts again, where no event marks that."""

_EVENT = 5
_OVERFLOW_Y, _OVERFLOW = 240, 2**13


def read_nmnist(source: str | Path | bytes) -> Recording:
    """The events of one N-MNIST file, as they stand there; see `check_recording`.

    Args:
        source: path of the file, or its bytes. A file of no bytes is a recording of no events.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the size is not a multiple of five bytes, so that the file was cut off or is
            of another format.

    Source: Orchard et al., Converting static image datasets to spiking neuromorphic datasets
    using saccades, 2015.
    """
    raw = source if isinstance(source, bytes) else Path(source).read_bytes()
    if len(raw) % _EVENT:
        name = "the bytes" if isinstance(source, bytes) else str(source)
        raise ValueError(
            f"an N-MNIST file has {_EVENT} bytes an event, but {name} "
            f"ends {len(raw) % _EVENT} bytes into event {len(raw) // _EVENT}"
        )
    columns = np.frombuffer(raw, np.uint8).reshape(-1, _EVENT).astype(np.int64)
    x, y, high, middle, low = columns.T
    t = (high & 127) << 16 | middle << 8 | low
    p = high >> 7
    if not (unseen := y == _OVERFLOW_Y).any():
        return Recording(t, x, y, p)
    t = t + _OVERFLOW * np.cumsum(unseen)
    return Recording(t[~unseen], x[~unseen], y[~unseen], p[~unseen])
