"""What the transforms of events share: which events stay, in which order, and where on the sensor.

Events are Data(x=(N, 1), pos=(N, 1 + k)): pos[:, 0] is time, pos[:, 1:] are the k sensor
coordinates. N events.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import Data

from .reading import positions, refuse_batch


def events_of(data: Data, transform: str, dimensions: int | None = None) -> Tensor:
    """data.pos of one recording, (N, 1 + k).

    Raises:
        TypeError: a collated Batch, or pos not floating point.
        ValueError: no pos, not `dimensions` sensor coordinates beside the time, or not finite.
    """
    refuse_batch(data, transform)
    pos = positions(data, transform)
    if pos.shape[1] < 1 or dimensions not in (None, pos.shape[1] - 1):
        raise ValueError(
            f"{transform} needs data.pos of time and {dimensions} sensor coordinates, "
            f"got shape {tuple(pos.shape)}"
        )
    return pos


def select_events(data: Data, index: Tensor) -> Data:
    """The events that `index`, numbers or a mask, names, as torch_geometric's subgraph.

    Every attribute with a row an event follows, and edges are renumbered; the class y of a single
    event stays.
    """
    chosen = data.subgraph(index)
    if data.pos.shape[0] == 1 and "y" in data:
        chosen.y = data.y
    return chosen


def order_by_time(data: Data) -> Data:
    """The events by rising time; equal times keep their order."""
    return select_events(data, data.pos[:, 0].argsort(stable=True))


def start_at_zero(data: Data) -> Data:
    """The same events, the first of them at time 0."""
    pos = data.pos.clone()
    pos[:, 0] -= pos[:1, 0].clone()
    data.pos = pos
    return data


def snap_to_pixels(data: Data, moved: Tensor, sensor_size: Sequence[int], outside: str) -> Data:
    """The events at the pixels nearest to `moved`, (N, k); none is left outside the sensor.

    `outside` says what becomes of those that leave it: "drop" drops them, "roll" lets them come
    in again from the other side.
    """
    extent = moved.new_tensor(sensor_size)
    pixels = moved.round()
    if outside == "roll":
        pixels = pixels.remainder(extent)
    data.pos = torch.cat([data.pos[:, :1], pixels], 1)
    if outside == "roll":
        return data
    inside = ((pixels >= 0) & (pixels < extent)).all(1)
    return data if bool(inside.all()) else select_events(data, inside)


def checked_sensor(sensor_size: Sequence[int], dimensions: int | None = None) -> tuple[int, ...]:
    """sensor_size as a tuple of positive numbers, `dimensions` of them.

    Raises:
        ValueError: it is not.
    """
    size = tuple(int(extent) for extent in sensor_size)
    if not size or min(size) < 1 or dimensions not in (None, len(size)):
        wanted = "positive" if dimensions is None else f"{dimensions} positive"
        raise ValueError(f"sensor_size must hold {wanted} numbers of pixels, got {sensor_size}")
    return size


def checked_outside(outside: str) -> str:
    """One of "drop" and "roll".

    Raises:
        ValueError: it is not.
    """
    if outside not in ("drop", "roll"):
        raise ValueError(f"outside must be 'drop' or 'roll', got {outside!r}")
    return outside


def checked_chance(p: float, name: str = "p") -> float:
    """A number from 0 to 1.

    Raises:
        ValueError: it is not.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"{name} must lie in 0 to 1, got {p}")
    return p


def chance(p: float) -> bool:
    """True with probability p, from torch's generator."""
    return float(torch.rand(())) < p


def uniform(low: float, high: float) -> float:
    """A number between low and high, from torch's generator."""
    return low + (high - low) * float(torch.rand((), dtype=torch.float64))
