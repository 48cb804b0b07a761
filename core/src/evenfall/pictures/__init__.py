"""Pictures, made without a display: figures, colours, charts of classes, rasters of events.

They need matplotlib.
"""

from .canvas import PALETTE, make_figure, palette_colour, require_pictures, save_figure
from .charts import draw_classes, draw_confusion
from .raster import draw_raster

__all__ = [
    "PALETTE",
    "draw_classes",
    "draw_confusion",
    "draw_raster",
    "make_figure",
    "palette_colour",
    "require_pictures",
    "save_figure",
]
