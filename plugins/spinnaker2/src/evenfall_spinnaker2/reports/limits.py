"""The limits of the chip, and how much of each an image uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evenfall_spinnaker2.chip import source, value
from evenfall_spinnaker2.image import Image

from .facts import Activity, PeFacts


@dataclass(frozen=True)
class Limit:
    """A resource: the most that is used, the limit, and where the limit comes from."""

    name: str
    used: float
    limit: float
    source: str

    @property
    def share(self) -> float:
        """Used / limit."""
        return self.used / self.limit if self.limit else 0.0


def limits(image: Image, pes: list[PeFacts], activity: Activity | None = None) -> list[Limit]:
    """Every limit of an image."""
    chips: dict[tuple[int, int], int] = {}
    for one in pes:
        chips[one.chip] = chips.get(one.chip, 0) + 1
    keys = max(row["keys"][0][0] + row["units"] for row in image.manifest["populations"])
    entries = max(len(table.entries) for table in image.tables.values())
    rows = [
        Limit("PEs of a chip", max(chips.values()), value("floor", "pes"), source("floor", "pes")),
        Limit(
            "data memory of a PE, bytes", max(one.used for one in pes),
            image.manifest["chip"]["data_bytes"], source("memory", "sram_bytes"),
        ),
        Limit(
            "entries of a router", entries, image.manifest["chip"]["router_entries"],
            source("routing", "router_entries"),
        ),
        Limit("keys", keys, 2 ** value("routing", "key_bits"), source("routing", "key_bits")),
    ]  # fmt: skip
    if activity is not None and activity.peak_queue is not None:
        depths = np.array([blob.queue_depth for blob in image.blobs])
        queued = np.flatnonzero(depths)
        if len(queued):
            peaks = np.asarray(activity.peak_queue)[queued]
            worst = int(np.argmax(peaks / depths[queued]))
            rows.append(
                Limit(
                    "events in a queue", int(peaks[worst]), int(depths[queued][worst]),
                    "chosen at compile time",
                )
            )  # fmt: skip
    return rows


def queue_needs(image: Image, activity: Activity) -> list[tuple[str, int, int, int]]:
    """(population, depth that it has, depth that the run needed, events lost). The depth needed is
    the maximum plus 1. Depth 0 means that events are used on arrival, so that none is needed."""
    rows = []
    for number, population in enumerate(image.manifest["populations"]):
        mine = [n for n, row in enumerate(image.manifest["pes"]) if row["population"] == number]
        if mine and activity.peak_queue is not None:
            depth = image.blobs[mine[0]].queue_depth
            need = int(np.asarray(activity.peak_queue)[mine].max()) + 1 if depth else 0
            lost = 0 if activity.lost is None else int(np.asarray(activity.lost)[mine].sum())
            rows.append((population["name"], depth, need, lost))
    return rows


def balance(image: Image, pes: list[PeFacts]) -> list[tuple[str, float, float]]:
    """(population, mean, largest products of a step and PE)."""
    rows = []
    for number, population in enumerate(image.manifest["populations"]):
        mine = [one.products for one in pes if one.population == number]
        if mine:
            rows.append((population["name"], float(np.mean(mine)), max(mine)))
    return rows
