"""Partition: which units of each population lie together on a processing element."""

from __future__ import annotations

from dataclasses import dataclass

from evenfall.errors import shorten

from .layout import PopulationLayout

_ROUNDS = 8


@dataclass(frozen=True)
class Slice:
    """Units first .. first + count - 1 of a population, on one processing element."""

    population: str
    first: int
    count: int


def partition(layout: PopulationLayout, capacity: int, pes: int | None = None) -> list[Slice]:
    """Cut a population into slices that fit, as few as possible and as even as possible.

    Args:
        layout: sizes of slices.
        capacity: bytes of data memory of a processing element.
        pes: cut into this number of slices instead.

    Raises:
        ValueError: a single unit (or row of a convolution's output) does not fit, or `pes` slices
            do not, or they would cut across the channels of a convolution.
    """
    grain = _grain(layout, capacity)
    count = layout.population.units // grain
    if pes is not None:
        cuts = _slices(layout, even(count, min(pes, count)), grain)
        if not all(_is_allowed(one, _channel(layout)) for one in cuts):
            raise ValueError(
                f"layer {shorten(layout.population.name)}: {len(cuts)} slices would cut across the "
                "channels of a convolution; use profile 'default'"
            )
        worst = max(layout.bytes(one.first, one.count) for one in cuts)
        if worst > capacity:
            raise ValueError(
                f"layer {shorten(layout.population.name)}: a processing element needs {worst} "
                f"bytes "
                f"and has {capacity}; prune more or choose a smaller precision"
            )
        return cuts
    greedy = _greedy(layout, grain, capacity)
    balanced = _slices(layout, even(count, len(greedy)), grain)
    if _fits(layout, balanced, capacity):
        return balanced
    low, high, best = 0, capacity, greedy
    for _ in range(_ROUNDS if len(greedy) < 1000 else 0):  # the smallest capacity for as many
        middle = (low + high) // 2
        try:
            cuts = _greedy(layout, grain, middle, len(greedy))
        except ValueError:
            low = middle
            continue
        high, best = middle, cuts
    return best


def even(count: int, parts: int) -> list[int]:
    """`parts` sizes that differ by at most 1 and sum to `count`."""
    return [(count * (i + 1)) // parts - (count * i) // parts for i in range(parts)]


def _grain(layout: PopulationLayout, capacity: int) -> int:
    """Units that stay together: one; of a convolution a channel, or a row if a channel is too
    large."""
    if not layout.is_convolution:
        return 1
    _, height, width = layout.population.shape
    fits = layout.bytes(0, height * width) <= capacity
    return height * width if fits else width


def _slices(layout: PopulationLayout, sizes: list[int], grain: int) -> list[Slice]:
    """Consecutive slices of so many grains; rows of a convolution do not cross a channel."""
    name, found, first = layout.population.name, [], 0
    for size in sizes:
        found.append(Slice(name, first, size * grain))
        first += size * grain
    return found


def _fits(layout: PopulationLayout, cuts: list[Slice], capacity: int) -> bool:
    channel = _channel(layout)
    return all(
        layout.bytes(one.first, one.count) <= capacity and _is_allowed(one, channel) for one in cuts
    )


def _channel(layout: PopulationLayout) -> int:
    """Units of a channel of a convolution, else 1."""
    if not layout.is_convolution:
        return 1
    _, height, width = layout.population.shape
    return height * width


def _is_allowed(one: Slice, channel: int) -> bool:
    """Whole channels, or a part of one."""
    is_whole = one.first % channel == 0 and one.count % channel == 0
    return is_whole or one.first // channel == (one.first + one.count - 1) // channel


def _greedy(
    layout: PopulationLayout, grain: int, capacity: int, most: int | None = None
) -> list[Slice]:
    """Slices as large as possible, each found by bisection.

    Raises:
        ValueError: a grain does not fit, or more than `most` slices would be needed.
    """
    population, channel = layout.population, _channel(layout)
    count, first, last = population.units // grain, 0, 0
    found: list[Slice] = []
    while first < count:
        end = count if grain == channel else (first // (channel // grain) + 1) * (channel // grain)
        low, high = _guess(layout, first * grain, grain, capacity, last, end - first)
        while low < high:  # the most grains that fit
            middle = (low + high + 1) // 2
            if layout.bytes(first * grain, middle * grain) <= capacity:
                low = middle
            else:
                high = middle - 1
        need = layout.bytes(first * grain, low * grain)
        if need > capacity:
            raise ValueError(_too_large(layout, first * grain, need, capacity))
        if most is not None and len(found) == most:
            raise ValueError("more slices")
        found.append(Slice(population.name, first * grain, low * grain))
        first, last = first + low, low
    return found


def _guess(
    layout: PopulationLayout, first: int, grain: int, capacity: int, last: int, most: int
) -> tuple[int, int]:
    """Bounds of the grains that fit: tight if as many fit as in the slice before."""
    if not 0 < last < most or layout.bytes(first, last * grain) > capacity:
        return 1, most
    return last, last if layout.bytes(first, (last + 1) * grain) > capacity else most


def _too_large(layout: PopulationLayout, unit: int, need: int, capacity: int) -> str:
    what = "row of the output" if layout.is_convolution else "unit"
    return (
        f"layer {shorten(layout.population.name)}: {what} {unit} alone needs {need} bytes, a "
        f"processing "
        f"element has {capacity}; prune it, choose a smaller precision, or split the layer"
    )
