"""Compile: a model becomes an image for the chip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evenfall.files import want_replaceable

from .image import write_image
from .image.folder import KNOWN
from .manifest import make_manifest
from .mapped import map_network
from .settings import Settings
from .sources import read_source


def compile(
    model: Any,
    output: str | Path,
    *,
    calibration: Any = None,
    replace: bool = False,
    **options: Any,
) -> Path:
    """Write an image of a model.

    Args:
        model: a module that has a lowering, a Graph, or a path: a checkpoint's folder, a saved
            graph, or a .nir file.
        output: the folder to write; it appears whole or not at all.
        calibration: examples (N, *input shape), for int8 activations.
        replace: whether an existing folder may be replaced.
        **options: fields of Settings.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder exists, and `replace` is off or it holds no image.
        LoweringError: a part of the model has no counterpart on the chip.
        ValueError: the model does not fit, or an option is wrong.
    """
    want_replaceable(output, replace=replace, known=KNOWN)
    settings = Settings(**options)
    source = read_source(model, settings.reset)
    network = settings.network(source.graph, calibration)
    manifest, contents = make_manifest(source, map_network(network, settings), settings)
    return write_image(output, manifest, contents, replace=replace)


def export(model: Any, output: str | Path, **options: Any) -> Path:
    """What `evenfall.export(model, "spinnaker2", output)` calls; see `compile`."""
    return compile(model, output, **options)
