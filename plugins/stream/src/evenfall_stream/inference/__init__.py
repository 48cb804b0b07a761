"""Classification of files: read as the recipe of the model reads its data, whole or in windows."""

from __future__ import annotations

from .files import FilePrediction, FilePredictor, Part
from .settings import Settings, checkpoint_settings

__all__ = ["FilePrediction", "FilePredictor", "Part", "Settings", "checkpoint_settings"]
