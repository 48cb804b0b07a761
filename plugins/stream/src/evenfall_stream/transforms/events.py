"""What the transforms of events share: selection, order and sensor coordinates of events.

Events are Data(x=(N, 1), pos=(N, 1 + k)): pos[:, 0] is time, pos[:, 1:] are the k sensor
coordinates. N events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from evenfall.checks import check_choice, check_integer
from evenfall.errors import shorten

from .reading import positions, refuse_batch


def events_of(data: Data, transform: str, dimensions: int | None = None) -> Tensor:
    """data.pos of one recording, (N, 1 + k).

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: pos is missing, not finite, or does not have time and `dimensions` sensor
            coordinates.
    """
    refuse_batch(data, transform)
    pos = positions(data, transform)
    if pos.shape[1] < 1 or dimensions not in (None, pos.shape[1] - 1):
        raise ValueError(
            f"{transform} needs data.pos with time and {dimensions} sensor coordinates, "
            f"got shape {tuple(pos.shape)}"
        )
    return pos


def select_events(data: Data, index: Tensor) -> Data:
    """Select events by indices or a mask, like torch_geometric's subgraph.

    Selects the rows of every attribute per event and renumbers edges. The class y stays, also for
    a recording of one event.
    """
    selection = data.subgraph(index)
    if data.pos.shape[0] == 1 and "y" in data:
        selection.y = data.y
    return selection


def order_by_time(data: Data) -> Data:
    """Sort the events by time; events of equal time keep their order."""
    return select_events(data, data.pos[:, 0].argsort(stable=True))


def start_at_zero(data: Data) -> Data:
    """Shift time so that the first event is at 0."""
    pos = data.pos.clone()
    pos[:, 0] -= pos[:1, 0].clone()
    data.pos = pos
    return data


def snap_to_pixels(data: Data, target: Tensor, sensor_size: Sequence[int], outside: str) -> Data:
    """Move the events to the pixels nearest to the coordinates `target`, (N, k).

    `outside` is for events that leave the sensor: "drop" drops them, "roll" wraps their coordinates
    around.
    """
    extent = target.new_tensor(sensor_size)
    pixels = target.round()
    if outside == "roll":
        pixels = pixels.remainder(extent)
    data.pos = torch.cat([data.pos[:, :1], pixels], 1)
    if outside == "roll":
        return data
    inside = ((pixels >= 0) & (pixels < extent)).all(1)
    return data if bool(inside.all()) else select_events(data, inside)


def check_sensor_size(sensor_size: Sequence[int], dimensions: int | None = None) -> tuple[int, ...]:
    """Return sensor_size as a tuple.

    Raises:
        ValueError: a number is not a positive integer, or there are not `dimensions` of them.
    """
    given = tuple(sensor_size) if isinstance(sensor_size, Iterable) else ()
    size = tuple(int(extent) if _is_whole(extent) else 0 for extent in given)
    if not size or min(size) < 1 or dimensions not in (None, len(size)):
        numbers = "positive integers" if dimensions is None else f"{dimensions} positive integers"
        raise ValueError(f"sensor_size must have {numbers} of pixels, got {shorten(sensor_size)}")
    return size


def _is_whole(extent: object) -> bool:
    if isinstance(extent, bool) or not isinstance(extent, int | float | np.integer):
        return False
    return float(extent).is_integer()


def check_count(count: int, least: int, name: str = "count") -> int:
    """Return count as an int.

    Raises:
        ValueError: it is not an integer of at least `least`.
    """
    number = int(count) if isinstance(count, np.integer) else count
    check_integer(name, number, least)
    return number


def check_outside(outside: str) -> str:
    """Return outside.

    Raises:
        ValueError: it is neither "drop" nor "roll".
    """
    check_choice("outside", outside, ("drop", "roll"))
    return outside


def check_probability(p: float, name: str = "p") -> float:
    """Return p.

    Raises:
        ValueError: it is not between 0 and 1.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"{name} must be between 0 and 1, got {p}")
    return p


def bernoulli(p: float) -> bool:
    """True with probability p, from torch's generator."""
    return float(torch.rand(())) < p


def uniform(low: float, high: float) -> float:
    """A random number between low and high, from torch's generator."""
    return low + (high - low) * float(torch.rand((), dtype=torch.float64))
