"""What `predict` takes from the recipe of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenfall.errors import shorten
from evenfall.recipes import read_yaml

from ..models.hub import find_file


@dataclass(frozen=True)
class Settings:
    """How the model's data were read.

    Attributes:
        sensor_size: of the recordings; None for the model's.
        sound: keyword arguments of SoundToEvents.
        most_pixels: see `RecordingFolder`.
        window: of a long recording, milliseconds; None for whole recordings.
        hop: from window to window, milliseconds; None for `window`.
        points: to sample from a mesh.
        unit_sphere: whether clouds are centred and scaled to the unit sphere; None: those of a
            classifier are, those of a segmenter are not.
        preparation: the recipe's transforms.
    """

    sensor_size: tuple[int, ...] | None = None
    sound: Mapping[str, Any] = field(default_factory=dict)
    most_pixels: int | None = None
    window: float | None = None
    hop: float | None = None
    points: int = 1024
    unit_sphere: bool | None = None
    preparation: Sequence[Any] = ()


_KNOWN = {
    "recordings": ("sensor_size", "sound", "most_pixels", "window", "hop"),
    "spoken-digits": ("sound",),
    "clouds": ("points",),
    "modelnet40": ("points",),
}
"""Data set to the options that also hold for single files."""


def checkpoint_settings(checkpoint: str | Path, unit_sphere: bool | None = None) -> Settings:
    """The settings in the recipe.yaml of a checkpoint; the defaults if there is none.

    Args:
        checkpoint: folder, or model on the Hub.
        unit_sphere: replaces that of the recipe. It must be given for clouds of your own class of
            data set, which may scale them or not.

    Raises:
        ValueError: recipe.yaml is not a recipe, or the model learned from your own class of clouds
            and `unit_sphere` is None.
    """
    try:
        file = find_file(checkpoint, "recipe.yaml")
    except FileNotFoundError:
        return Settings(unit_sphere=unit_sphere)
    recipe = read_yaml(file, "recipe")
    options = recipe.get("dataset_options") or {}
    preparation = recipe.get("preparation") or []
    if not isinstance(options, dict) or not isinstance(preparation, list):
        raise ValueError(f"{file} must have a mapping dataset_options and a list preparation")
    known = _KNOWN.get(str(recipe.get("dataset")), ())
    values = {name: options[name] for name in known if options.get(name) is not None}
    if "sensor_size" in values:
        values["sensor_size"] = tuple(values["sensor_size"])
    scaled = True if recipe.get("dataset") == "shapenet-part" else None
    if recipe.get("dataset") == "scanobjectnn" and options.get("normalize") is False:
        scaled = False
    dataset = str(recipe.get("dataset"))
    if unit_sphere is not None:
        scaled = unit_sphere
    elif ":" in dataset and recipe.get("task") != "events":
        raise ValueError(
            f"unit_sphere must say whether {shorten(dataset)} centres and scales clouds to the "
            "unit sphere, got None: pass --unit-sphere or --no-unit-sphere"
        )
    return Settings(unit_sphere=scaled, preparation=preparation, **values)
