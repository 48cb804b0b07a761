"""Random shift of a recording."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import (
    check_count,
    check_outside,
    check_probability,
    check_sensor_size,
    events_of,
    snap_to_pixels,
)


@functional_transform("random_event_shift")
class RandomEventShift(BaseTransform):
    r"""Shift all events of a recording by the same whole number of pixels.

    .. math:: c_{i,a} \leftarrow c_{i,a} + t_a, \qquad
        t_a \in \{-m_a, \dots, m_a\} \text{ uniformly}

    Takes and returns events, Data(x, pos); draws from torch's generator.

    Args:
        pixels: m, the largest shift, not negative.
        sensor_size: (width, height) in pixels, or (channels,).
        share: in place of pixels: m is this share of each side, rounded down.
        outside: "drop" events that leave the sensor, or "roll": wrap their coordinates around.

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: an argument is out of range; pos is missing, not finite or has another number of
            coordinates.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508, which uses "roll".
    """

    def __init__(
        self, pixels: int | None = None, sensor_size: Sequence[int] = (), outside: str = "drop", *,
        share: float | None = None,
    ) -> None:  # fmt: skip
        self.sensor_size = check_sensor_size(sensor_size)
        if (pixels is None) == (share is None):
            raise ValueError(f"pass either pixels or share, got {pixels} and {share}")
        self.pixels = None if pixels is None else check_count(pixels, 0, "pixels")
        self.share = share
        self.most = (
            tuple(int(check_probability(share, "share") * side) for side in self.sensor_size)
            if share is not None
            else (self.pixels or 0,) * len(self.sensor_size)
        )
        self.outside = check_outside(outside)

    def forward(self, data: Data) -> Data:
        """The data with the shifted events."""
        place = events_of(data, type(self).__name__, len(self.sensor_size))[:, 1:]
        shift = torch.cat([torch.randint(-most, most + 1, (1,)) for most in self.most]).to(place)
        return snap_to_pixels(data, place + shift, self.sensor_size, self.outside)

    def __repr__(self) -> str:
        most = self.pixels if self.share is None else f"share={self.share}"
        return f"{type(self).__name__}({most}, {self.sensor_size}, outside={self.outside!r})"
