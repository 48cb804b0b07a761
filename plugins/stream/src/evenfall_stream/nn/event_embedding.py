"""The embedding of events: an integer id for each pixel and polarity, a vector for each id.

Letters: N events, S sensor pixels (or audio channels), P polarities, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..checks import Check


def event_ids(
    coordinates: Tensor, polarity: Tensor, sensor_size: Sequence[int], polarities: int
) -> Tensor:
    """(N, k) integer coordinates and (N,) polarities to unique ids x + width (y + height p).

    Valid only for events that pass `on_sensor`.
    """
    ids = torch.zeros_like(polarity, dtype=torch.long)
    size = 1
    columns = [*coordinates.unbind(1), polarity]
    for column, extent in zip(columns, [*sensor_size, polarities], strict=True):
        ids += size * column.round().long()
        size *= extent
    return ids


def on_sensor(
    coordinates: Tensor, polarity: Tensor, sensor_size: Sequence[int], polarities: int
) -> list[Check]:
    """Checks that events are on the sensor and have a valid polarity; arguments of `event_ids`."""
    columns = [*coordinates.detach().unbind(1), polarity.detach()]
    extents = [*sensor_size, polarities]

    def check(axis: int) -> Check:
        column, extent = columns[axis], extents[axis]
        values = column.round().long()  # NaN becomes negative
        inside = (values >= 0) & (values < extent)

        def error() -> Exception:
            at = int((~inside).nonzero()[0])
            name = "x" if axis == len(sensor_size) else f"pos column {axis + 1}"
            return ValueError(
                f"{name} must be between 0 and {extent - 1} (sensor_size {tuple(sensor_size)}, "
                f"{polarities} polarities), got {float(column[at]):g} at event {at}"
            )

        return inside.all(), error

    return [check(axis) for axis in range(len(extents))]


class EventEmbedding(nn.Module):
    r"""A vector for each pixel and polarity.

    Args:
        width: W.
        sensor_size: extent along each coordinate, (width, height) or (channels,).
        polarities: P.
        frequencies: None for an independent vector for each id. Otherwise the vectors are smooth
            over the sensor: products of the cosines :math:`\cos(\pi f (c + 1/2) / S)` with
            :math:`f < frequencies` along each coordinate, mixed by a matrix for each polarity.
            Neighbouring pixels then share what they learn, which helps with few recordings.

    Raises:
        ValueError: sensor_size is empty, or a size is not positive.
    """

    def __init__(
        self, width: int, sensor_size: Sequence[int], polarities: int, frequencies: int | None
    ) -> None:
        super().__init__()
        sizes = [*sensor_size, polarities, 1 if frequencies is None else frequencies]
        if not sensor_size or min(sizes) < 1:
            raise ValueError(
                "sensor_size, polarities and frequencies must be positive, "
                f"got {tuple(sensor_size)}, {polarities} and {frequencies}"
            )
        self.sensor_size, self.polarities = tuple(sensor_size), polarities
        self.frequencies = frequencies
        if frequencies is None:
            self.table = nn.Parameter(torch.empty(math.prod(sensor_size) * polarities, width))
        else:
            self.register_buffer("cosines", _cosines(self.sensor_size, frequencies), False)
            self.mix = nn.Parameter(torch.empty(polarities, self.cosines.shape[1], width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise so that every entry of an embedded event has unit variance."""
        if self.frequencies is None:
            self.table.normal_()
        else:
            self.mix.normal_(std=self.cosines.square().sum(1).mean().rsqrt().item())

    def forward(self, coordinates: Tensor, polarity: Tensor) -> Tensor:
        """(N, k) coordinates in pixels and (N,) polarities to (N, W); all on the sensor."""
        ids = event_ids(coordinates, polarity, self.sensor_size, self.polarities)
        return nn.functional.embedding(ids, self.vectors())

    def vectors(self) -> Tensor:
        """The vector of each id, (S P, W)."""
        if self.frequencies is None:
            return self.table
        return (self.cosines @ self.mix).flatten(0, 1)


def _cosines(sensor_size: Sequence[int], frequencies: int) -> Tensor:
    """(S, F^k) products of cosines; the first coordinate varies fastest along the rows.

    Amplitudes decrease with frequency, as in natural images.
    """
    axes = []
    for extent in sensor_size:
        places = (torch.arange(extent, dtype=torch.float64) + 0.5) / extent
        waves = torch.arange(min(frequencies, extent), dtype=torch.float64)
        axes.append(torch.cos(math.pi * places[:, None] * waves) / (1 + waves / 2))
    table = axes[0]
    for axis in axes[1:]:
        table = torch.einsum("if,jg->jifg", table, axis).reshape(len(axis) * len(table), -1)
    return table.float()
