"""The figures of an image, and of a run of it: what the pages of the report show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evenfall_spinnaker2.image import Blob, Image


@dataclass(frozen=True, eq=False)
class Activity:
    """What a run of the emulator measured.

    Attributes:
        events: (T,) events of each population at each step, by its name.
        rasters: (T, units) what units of some populations sent.
        peak_queue: by PE, the most events that waited at once.
        lost: by PE, events that a full queue lost.
        cpu_seconds: seconds a step of the original model on a CPU; None if it was not measured.
        cpu: what that CPU is.
    """

    events: Mapping[str, Any]
    rasters: Mapping[str, Any] = field(default_factory=dict)
    peak_queue: Any = None
    lost: Any = None
    cpu_seconds: float | None = None
    cpu: str = ""

    @property
    def steps(self) -> int:
        """T."""
        return len(next(iter(self.events.values())))


@dataclass(frozen=True)
class PeFacts:
    """A processing element: where it is and how full.

    Attributes:
        number: of its blob.
        chip, pe, at: chip, number on the chip, (quad x, quad y, number in the quad).
        population: number of its population.
        used: bytes of data memory; `parts` has them by part.
        nonzeros: stored weights that are not zero, as products of a step in which every source
            sends.
        products: products of a step with the measured events, else `nonzeros`.
        arrivals: packets that arrive in a step with the measured events, else if all units send.
    """

    number: int
    chip: tuple[int, int]
    pe: int
    at: tuple[int, int, int]
    population: int
    used: int
    parts: Mapping[str, int]
    nonzeros: int
    products: float
    arrivals: float


def pe_facts(image: Image, activity: Activity | None = None) -> list[PeFacts]:
    """The facts of every processing element of an image."""
    rates = event_rates(image, activity)
    found = []
    for number, (row, blob) in enumerate(zip(image.manifest["pes"], image.blobs, strict=True)):
        parts = {part["part"]: part["bytes"] for part in row["memory"]}
        used = sum(parts.values()) - parts["code"] - parts["free"] - parts["stack"]
        nonzeros, products, arrivals = _work(blob, source_rates(image, blob, rates))
        found.append(
            PeFacts(
                number, (row["chip"][0], row["chip"][1]), row["pe"], tuple(row["at"]),
                row["population"], used, parts, nonzeros, products, arrivals,
            )
        )  # fmt: skip
    return found


def event_rates(image: Image, activity: Activity | None) -> list[float]:
    """Events a step and unit of each population; 1 without a run."""
    rows = image.manifest["populations"]
    if activity is None:
        return [1.0] * len(rows)
    return [
        float(np.mean(activity.events[row["name"]])) / row["units"]
        if row["name"] in activity.events and activity.steps
        else 1.0
        for row in rows
    ]


def source_rates(image: Image, blob: Blob, rates: list[float]) -> list[float]:
    """The rate of the source of each source range of a blob."""
    rows = image.manifest["populations"]
    starts = {row["keys"][0][0]: rate for row, rate in zip(rows, rates, strict=True)}
    return [starts[one.first_key] for one in blob.ranges]


def _work(blob: Blob, rates: list[float]) -> tuple[int, float, float]:
    """Nonzeros, products and arrivals of a step."""
    nonzeros, products, arrivals = 0, 0.0, 0.0
    for one, rate in zip(blob.ranges, rates, strict=True):
        projection = blob.projections[one.projection]
        stored = stored_products(projection)
        nonzeros += stored
        products += stored * (rate if blob.mode == "events" else 1.0)
        arrivals += one.count * rate
    return nonzeros, products, arrivals


def stored_products(projection: Any) -> int:
    """Products of a step in which every source sends. A convolution reuses its weights."""
    if projection.kind != "conv":
        return int(projection.weights.size)
    _, height, width = projection.source_shape
    taps = int(np.prod(projection.weights.shape))
    step_y, step_x = projection.stride
    return taps * height * width // (step_y * step_x)


def weight_bytes(blob: Blob) -> float:
    """Bytes read for a product, weights and indices, on average over the projections."""
    sizes = {"fp32": 4, "bf16": 2, "int8": 1}
    total = products = 0
    for one in blob.projections:
        index = 0 if one.indices is None else one.indices.dtype.itemsize
        total += one.weights.size * (sizes[one.weight_format] + index)
        products += one.weights.size
    return total / max(products, 1)
