"""Sound as events of a bank of filters. Needs only NumPy and SciPy."""

from __future__ import annotations

from .sound_to_events import SoundToEvents
from .wav import read_wav

__all__ = ["SoundToEvents", "read_wav"]
