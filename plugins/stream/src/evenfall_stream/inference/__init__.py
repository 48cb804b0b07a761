"""Classification of files, or of their points: read as the recipe of the model reads its data."""

from __future__ import annotations

from .files import FilePrediction, FilePredictor, Part
from .segments import FileSegmenter, SegmentedFile
from .settings import Settings, checkpoint_settings

__all__ = [
    "FilePrediction",
    "FilePredictor",
    "FileSegmenter",
    "Part",
    "SegmentedFile",
    "Settings",
    "checkpoint_settings",
]
