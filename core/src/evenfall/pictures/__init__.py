"""Pictures, made without a display: figures, colours, rasters of events. They need matplotlib."""

from .canvas import PALETTE, make_figure, palette_colour, require_pictures, save_figure
from .raster import draw_raster

__all__ = [
    "PALETTE",
    "draw_raster",
    "make_figure",
    "palette_colour",
    "require_pictures",
    "save_figure",
]
