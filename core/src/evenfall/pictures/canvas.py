"""Figures without a display, saved whole or not at all, and the colours of all pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evenfall.files import file_aside

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours, which colour-blind readers can distinguish."""


def palette_colour(index: int) -> str:
    """The colour of curve or layer number `index`; after the last colour the first follows."""
    return PALETTE[index % len(PALETTE)]


def require_pictures() -> None:
    """Say before the work, not after it, that nothing can be drawn.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        import matplotlib.backends.backend_agg
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "pictures need matplotlib; install the extra 'pictures': "
            "pip install 'evenfall-core[pictures]'"
        ) from error


def make_figure(width: float, height: float) -> Any:
    """An empty matplotlib Figure, size in inches, drawn by Agg.

    Raises:
        ImportError: matplotlib is not installed.
    """
    require_pictures()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: str | Path, dpi: int = 130) -> Path:
    """Write the figure; the suffix of `path` is the format. Equal figures give equal PNG files."""
    path = Path(path)
    # matplotlib writes its version into a PNG.
    metadata = {"Software": None} if path.suffix.lower() == ".png" else None
    with file_aside(path) as aside:
        figure.savefig(aside, dpi=dpi, metadata=metadata)
    return path
