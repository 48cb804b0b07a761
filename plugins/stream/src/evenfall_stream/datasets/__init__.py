"""Data sets of point clouds and of event recordings, as torch_geometric data sets."""

from .cut_mix import CutMix
from .modelnet import modelnet
from .modelnet10 import ModelNet10Clouds
from .nmnist import NMNIST
from .scanobjectnn import ScanObjectNN
from .tonic import from_tonic, tonic_split

__all__ = [
    "CutMix",
    "ModelNet10Clouds",
    "NMNIST",
    "ScanObjectNN",
    "from_tonic",
    "modelnet",
    "tonic_split",
]
