"""Readers of event recordings. They need only NumPy."""

from __future__ import annotations

from .aedat2 import AEDAT2_CLOCK, read_aedat2
from .aedat2_chips import DVS128_SIZE
from .bs2 import NMNIST_CLOCK, read_nmnist
from .recording import Recording, check_recording
from .recording_files import read_recording

__all__ = [
    "AEDAT2_CLOCK",
    "DVS128_SIZE",
    "NMNIST_CLOCK",
    "Recording",
    "check_recording",
    "read_aedat2",
    "read_nmnist",
    "read_recording",
]
