"""Transforms of point clouds and event streams, for torch_geometric pipelines."""

from .add_noise_events import AddNoiseEvents
from .center_events import CenterEvents
from .coordinate_differences import CoordinateDifferences
from .drop_event_chunk import DropEventChunk
from .drop_events import DropEvents
from .event_slice import EventSlice
from .farthest_points import FarthestPoints
from .nearest_neighbor_graph import NearestNeighborGraph
from .normalize_sphere import NormalizeSphere
from .order_by_coordinate import OrderByCoordinate
from .random_anisotropic_scale import RandomAnisotropicScale
from .random_event_flip import RandomEventFlip
from .random_event_rotate import RandomEventRotate
from .random_event_scale import RandomEventScale
from .random_event_shift import RandomEventShift
from .random_shift import RandomShift
from .spatial_jitter import SpatialJitter
from .time_jitter import TimeJitter
from .time_skew import TimeSkew
from .time_window import TimeWindow

__all__ = [
    "AddNoiseEvents",
    "CenterEvents",
    "CoordinateDifferences",
    "DropEventChunk",
    "DropEvents",
    "EventSlice",
    "FarthestPoints",
    "NearestNeighborGraph",
    "NormalizeSphere",
    "OrderByCoordinate",
    "RandomAnisotropicScale",
    "RandomEventFlip",
    "RandomEventRotate",
    "RandomEventScale",
    "RandomEventShift",
    "RandomShift",
    "SpatialJitter",
    "TimeJitter",
    "TimeSkew",
    "TimeWindow",
]
