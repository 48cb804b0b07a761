"""Options that check and compile share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evenfall.reading import read_array

Model = Annotated[
    Path,
    typer.Argument(
        help="A checkpoint's folder, a saved graph, or a .nir file.", show_default=False
    ),
]
Mode = Annotated[
    str | None,
    typer.Option(
        help="events, the default: a row of weights for each event; gather: units read all inputs, "
        "the only mode of the profile published.",
        show_default=False,
    ),
]
Precision = Annotated[
    str,
    typer.Option(help="auto (the smallest that holds every weight exactly), fp32, bf16 or int8."),
]
Profile = Annotated[
    str, typer.Option(help="default, or published: the layout of the published language model.")
]
Board = Annotated[
    str, typer.Option(help="1 chip, 48 chips, or a rectangle such as 4x3 for extrapolation.")
]
Pes = Annotated[
    int | None,
    typer.Option(help="Processing elements of a chip to use; 148 by default.", show_default=False),
]
Decoder = Annotated[
    str, typer.Option(help="Where dense layers after the last events lie: host or chip.")
]
QueueDepth = Annotated[
    int | None,
    typer.Option(
        help="Events that a queue holds; by default one for each source, at most 1024.",
        show_default=False,
    ),
]
Dt = Annotated[float, typer.Option(help="Seconds of a step of spiking layers.")]
Integrator = Annotated[str, typer.Option(help="Of spiking layers: forward (Euler) or exponential.")]
Reset = Annotated[
    str | None,
    typer.Option(
        help="What layers of a .nir file do when they spike: value, the default (v becomes v_reset)"
        " or subtract (the threshold).",
        show_default=False,
    ),
]
Calibration = Annotated[
    Path | None,
    typer.Option(
        help="A .npy file of examples: int8 activations for dense and convolution layers.",
        show_default=False,
    ),
]


def load_examples(path: Path | None) -> Any:
    """The array of a .npy file, without pickles; None if there is no path.

    Raises:
        ValueError: not such a file.
    """
    if path is None:
        return None
    try:
        return read_array(path)
    except ValueError as error:
        raise ValueError(f"calibration {path}: not a .npy file of numbers ({error})") from None
