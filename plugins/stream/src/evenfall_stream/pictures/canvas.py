"""Figures without a display, saved in one step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evenfall.files import file_aside


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


def save_figure(figure: Any, path: str | Path) -> Path:
    """Write the figure in the format that the suffix of `path` names."""
    with file_aside(path) as aside:
        figure.savefig(aside, dpi=130)
    return Path(path)
