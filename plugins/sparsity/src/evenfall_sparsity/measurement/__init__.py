"""Count what a model stores and computes."""

from .picture import draw_measurement
from .result import MeasuredMatrix, MeasuredUnits, Measurement
from .run import measure

__all__ = ["MeasuredMatrix", "MeasuredUnits", "Measurement", "draw_measurement", "measure"]
