"""torch_geometric data sets of point clouds and event recordings."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cut_mix import CutMix
    from .folders import CloudFolder, RecordingFolder
    from .modelnet10 import ModelNet10Clouds
    from .modelnet_meshes import modelnet
    from .nmnist import NMNIST
    from .scanobjectnn import ScanObjectNN
    from .segmentation import S3DIS, ShapeNetPart, SyntheticRooms
    from .spoken_digits import SpokenDigits
    from .tonic import from_tonic, tonic_split

__all__ = [
    "NMNIST",
    "S3DIS",
    "CloudFolder",
    "CutMix",
    "ModelNet10Clouds",
    "RecordingFolder",
    "ScanObjectNN",
    "ShapeNetPart",
    "SpokenDigits",
    "SyntheticRooms",
    "from_tonic",
    "modelnet",
    "tonic_split",
]

_HOME = {
    "CloudFolder": "folders",
    "CutMix": "cut_mix",
    "ModelNet10Clouds": "modelnet10",
    "NMNIST": "nmnist",
    "RecordingFolder": "folders",
    "S3DIS": "segmentation",
    "ScanObjectNN": "scanobjectnn",
    "ShapeNetPart": "segmentation",
    "SyntheticRooms": "segmentation",
    "SpokenDigits": "spoken_digits",
    "from_tonic": "tonic",
    "modelnet": "modelnet_meshes",
    "tonic_split": "tonic",
}


def __getattr__(name: str) -> Any:
    """Import a data set on first access: the readers do not need torch.

    Raises:
        AttributeError: there is no such data set.
    """
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
