"""Figures without a display, saved in one step, and the colours of the house."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evenfall.files import file_aside

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours, told apart with any kind of colour vision."""


def palette_colour(index: int) -> str:
    """The colour of the curve or layer of that number; after the last colour the first follows."""
    return PALETTE[index % len(PALETTE)]


def make_figure(width: float, height: float) -> Any:
    """An empty matplotlib Figure of that size in inches, drawn by Agg.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: str | Path, dpi: int = 130) -> Path:
    """Write the figure in the format that the suffix of `path` names; a PNG of the same figure has
    the same bytes."""
    path = Path(path)
    # matplotlib writes its version into a PNG.
    metadata = {"Software": None} if path.suffix.lower() == ".png" else None
    with file_aside(path) as aside:
        figure.savefig(aside, dpi=dpi, metadata=metadata)
    return path
