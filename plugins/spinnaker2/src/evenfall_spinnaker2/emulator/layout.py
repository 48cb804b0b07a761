"""Populations and destinations, read from the manifest, the blobs and the routing tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evenfall.errors import shorten

from ..image import Blob, Image
from .routes import Routes
from .tables import Destinations


@dataclass(frozen=True, eq=False)
class Population:
    """A population as the emulator needs it.

    Attributes:
        name: of the manifest.
        units: number of units.
        shape: their shape.
        level: the number of layers on the chip below it.
        pes: numbers of its PEs in the image, in the order of units; None on the host.
        slots: of a population on PEs: the places of its units among the units of all PEs.
        keys: the key of each unit.
        sets: the number of the set of PEs that each unit's events reach.
    """

    name: str
    units: int
    shape: tuple[int, ...]
    level: int
    pes: Any
    slots: Any
    keys: Any
    sets: Any


@dataclass(frozen=True, eq=False)
class Layout:
    """All populations, where events go, and the number of levels."""

    populations: tuple[Population, ...]
    destinations: Destinations
    levels: int


def read_layout(image: Image) -> Layout:
    """Read populations and follow all packets of an image.

    Raises:
        ValueError: slices, keys or routes contradict each other.
    """
    manifest = image.manifest
    rows = manifest["pes"]
    chips = {(int(x), int(y)) for x, y in manifest["chips"]}
    pes = {((row["chip"][0], row["chip"][1]), row["pe"]): i for i, row in enumerate(rows)}
    if len(pes) < len(rows):
        raise ValueError(f"image: {len(rows)} blobs are on {len(pes)} PEs, want one on each")
    missing = {chip for chip, _ in pes} - chips
    if missing:
        raise ValueError(f"image: PEs are on chips {sorted(missing)}, which are not in use")
    routes = Routes(image.tables, pes)
    of_unit, reaches_host = [], []
    for row, blob in zip(rows, image.blobs, strict=True):
        numbers, host = routes.follow((row["chip"][0], row["chip"][1]), _keys_of(blob))
        of_unit.append(numbers)
        reaches_host.append(bool(host.all()))
    places = np.cumsum([0, *(blob.units for blob in image.blobs)])
    first_chip = (manifest["chips"][0][0], manifest["chips"][0][1])
    populations = []
    for number, row in enumerate(manifest["populations"]):
        shape, units = tuple(row["shape"]), row["units"]
        if row["place"] == "host":
            keys = _host_keys(row)
            sets, _ = routes.follow(first_chip, keys)
            found: tuple[Any, ...] = (None, None, keys.astype(np.int64), sets)
        else:
            members = _pes_of(rows, number, row)
            slots = np.concatenate([np.arange(places[pe], places[pe + 1]) for pe in members])
            keys = np.concatenate([_keys_of(image.blobs[pe]) for pe in members]).astype(np.int64)
            sets = np.concatenate([of_unit[pe] for pe in members])
            found = (np.array(members, np.int64), slots, keys, sets)
        populations.append(Population(row["name"], units, shape, row["level"], *found))
    _check_outputs(image, populations, reaches_host)
    on_chip = [one.level for one in populations if one.pes is not None]
    if not on_chip:
        raise ValueError("image: no population is on the chip")
    return Layout(tuple(populations), routes.destinations(), 1 + max(on_chip))


def _keys_of(blob: Blob) -> np.ndarray:
    return blob.first_key + np.arange(blob.units, dtype=np.uint64)


def _host_keys(row: Any) -> np.ndarray:
    keys = np.zeros(row["units"], np.uint64)
    seen = np.zeros(row["units"], bool)
    for first, count, unit in row["keys"]:
        if unit + count > row["units"] or seen[unit : unit + count].any():
            raise ValueError(f"population {shorten(row['name'])}: its keys do not fit its units")
        keys[unit : unit + count] = first + np.arange(count, dtype=np.uint64)
        seen[unit : unit + count] = True
    if not seen.all():
        raise ValueError(f"population {shorten(row['name'])}: a unit has no key")
    return keys


def _pes_of(rows: Any, number: int, population: Any) -> list[int]:
    """The PEs of a population in the order of its units."""
    members = [i for i, row in enumerate(rows) if row["population"] == number]
    members.sort(key=lambda i: rows[i]["first_unit"])
    unit = 0
    for i in members:
        if rows[i]["first_unit"] != unit:
            raise ValueError(f"population {shorten(population['name'])}: no PE has unit {unit}")
        unit += rows[i]["units"]
    if unit != population["units"]:
        raise ValueError(f"population {shorten(population['name'])}: PEs have {unit} of its units")
    return members


def _check_outputs(image: Image, populations: list[Population], reaches_host: list[bool]) -> None:
    for row in image.manifest["host"]["outputs"]:
        if row["population"] >= len(populations):
            raise ValueError(f"output {shorten(row['name'])}: no population {row['population']}")
        one = populations[row["population"]]
        if one.pes is None or not all(reaches_host[pe] for pe in one.pes):
            raise ValueError(
                f"output {shorten(row['name'])}: events of {shorten(one.name)} do not reach the "
                f"host"
            )
