"""The embedding of events: an integer id for each pixel and polarity, a vector for each id.

Letters: N events, S sensor pixels (or audio channels), P polarities, W width, F frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from evenfall.errors import warn_user

from ..checks import Check

_SMALL = 2**16
"""Most ids of a table that is made as a whole where the number of events is not known."""
_MANY = 2**24
"""Independent parameters above which a warning names the alternative."""


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
        values = column.round()
        inside = (values >= 0) & (values < extent)  # False for NaN too, which GPUs may cast to 0
        name = "x" if axis == len(sensor_size) else f"pos column {axis + 1}"

        def error() -> Exception:
            at = int((~inside).nonzero()[0])
            return ValueError(
                f"{name} must be between 0 and {extent - 1} (sensor_size {tuple(sensor_size)}, "
                f"{polarities} polarities), got {float(column[at]):g} at event {at}"
            )

        return Check(inside.all(), f"{name} must be between 0 and {extent - 1}", error)

    return [check(axis) for axis in range(len(extents))]


class EventEmbedding(nn.Module):
    r"""A vector for each pixel and polarity.

    Args:
        width: W.
        sensor_size: extent along each coordinate, (width, height) or (channels,).
        polarities: P.
        frequencies: None for an independent vector for each id, S P W parameters; more than
            16.8 million are a warning. Otherwise the vectors are smooth over the sensor: products
            of the cosines :math:`\cos(\pi f (c + 1/2) / S)` with :math:`f < frequencies` along
            each coordinate, mixed by a matrix for each polarity. Neighbouring pixels then share
            what they learn, which helps with few recordings, and parameters and memory do not grow
            with the sensor: vectors are computed for the events alone where they are fewer than
            the ids.

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
        self.ids = math.prod(sensor_size) * polarities
        if frequencies is None:
            if self.ids * width > _MANY:
                warn_user(
                    f"sensor_size {self.sensor_size} with {polarities} polarities has "
                    f"{self.ids * width:,} parameters in independent vectors; frequencies=16 "
                    "makes them smooth over the sensor with far fewer",
                    UserWarning,
                )
            self.table = nn.Parameter(torch.empty(self.ids, width))
        else:
            waves = 1
            for axis, extent in enumerate(self.sensor_size):
                cosines = _cosines(extent, frequencies)
                waves *= cosines.shape[1]
                self.register_buffer(f"cosines_{axis}", cosines, False)
            self.mix = nn.Parameter(torch.empty(polarities, waves, width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise so that every entry of an embedded event has unit variance."""
        if self.frequencies is None:
            self.table.normal_()
        else:
            power = [axis.square().sum(1).mean().item() for axis in self._axes()]
            self.mix.normal_(std=math.prod(power) ** -0.5)

    def forward(self, coordinates: Tensor, polarity: Tensor) -> Tensor:
        """(N, k) coordinates in pixels and (N,) polarities to (N, W); all on the sensor."""
        ids = event_ids(coordinates, polarity, self.sensor_size, self.polarities)
        if self.frequencies is None or self._table_is_cheaper(ids):
            return nn.functional.embedding(ids, self.vectors())
        return self.vectors_of(ids)

    def vectors(self) -> Tensor:
        """The vector of each id, (S P, W)."""
        if self.frequencies is None:
            return self.table
        first, *others = self._axes()
        waves = first  # (S, F^k), the first coordinate varies fastest along the rows
        for axis in others:
            waves = torch.einsum("if,jg->jifg", waves, axis).reshape(len(axis) * len(waves), -1)
        return (waves @ self.mix).flatten(0, 1)

    def vectors_of(self, ids: Tensor) -> Tensor:
        """The smooth vectors of (N,) ids, (N, W), without those of other ids."""
        waves, rest = ids.new_ones(1, 1).to(self.mix.dtype), ids
        for axis in self._axes():
            own = axis[rest % len(axis)]
            waves = (waves[:, :, None] * own[:, None]).flatten(1)  # (N, F^k)
            rest = rest // len(axis)
        if self.polarities == 1:
            return waves @ self.mix[0]
        by_polarity = torch.einsum("nf,pfw->npw", waves, self.mix)
        return by_polarity.gather(
            1, rest[:, None, None].expand(-1, 1, by_polarity.shape[2])
        ).squeeze(1)

    def table_of_a_stream(self) -> Tensor | None:
        """`vectors()` of a small sensor, to look events up while they arrive; None for others."""
        return self.vectors() if self.frequencies is None or self.ids <= _SMALL else None

    def _table_is_cheaper(self, ids: Tensor) -> bool:
        if torch.compiler.is_compiling():  # the number of events may be symbolic
            return self.ids <= _SMALL
        return self.ids <= ids.numel()

    def _axes(self) -> list[Tensor]:
        return [self.get_buffer(f"cosines_{axis}") for axis in range(len(self.sensor_size))]


def _cosines(extent: int, frequencies: int) -> Tensor:
    """(extent, F) cosines. Amplitudes decrease with frequency, as in natural images."""
    places = (torch.arange(extent, dtype=torch.float64) + 0.5) / extent
    waves = torch.arange(min(frequencies, extent), dtype=torch.float64)
    return (torch.cos(math.pi * places[:, None] * waves) / (1 + waves / 2)).float()
