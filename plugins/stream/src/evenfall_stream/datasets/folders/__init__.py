"""Your own files as data sets: one folder for each class."""

from __future__ import annotations

from .clouds import CloudFolder
from .recordings import RecordingFolder

__all__ = ["CloudFolder", "RecordingFolder"]
