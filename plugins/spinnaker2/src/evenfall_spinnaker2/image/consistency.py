"""What must agree between manifest, blobs, tables and arrays, so that no reader can be misled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenfall.errors import shorten

from .blob import Blob
from .checks import want
from .routing import RoutingTable


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """Check the references within a manifest.

    Raises:
        ValueError: the first thing that does not fit.
    """
    populations = manifest["populations"]
    count, chips = len(populations), {tuple(chip) for chip in manifest["chips"]}
    end = 0
    for number, one in enumerate(populations):
        want(_product(one["shape"]) == one["units"], f"populations/{number}: shape and units")
        want(one["level"] < max(count, 1), f"populations/{number}/level: {one['level']}")
        want(len(one["keys"]) == 1, f"populations/{number}/keys: want one range")
        first, size, unit = one["keys"][0]
        want(size == one["units"] and unit == 0, f"populations/{number}/keys: not all units")
        want(end <= first and first + size <= 1 << 32, f"populations/{number}/keys: they overlap")
        want((one["place"] == "host") == (one["kind"] == "input"), f"populations/{number}/place")
        end = first + size
    _check_indices(manifest, count)
    places, covered = set(), [0] * count
    for number, row in enumerate(manifest["pes"]):
        what = f"pes/{number}"
        want(row["population"] < count, f"{what}/population: {row['population']} of {count}")
        population = populations[row["population"]]
        want(population["place"] == "chip", f"{what}/population: it lies on the host")
        want(row["first_unit"] == covered[row["population"]], f"{what}/first_unit: a gap")
        covered[row["population"]] += row["units"]
        key = population["keys"][0][0] + row["first_unit"]
        want(row["first_key"] == key, f"{what}/first_key: want {key}")
        place = (*row["chip"], row["pe"])
        want(tuple(row["chip"]) in chips, f"{what}/chip: {row['chip']} is not in use")
        want(row["pe"] < manifest["chip"]["pes"], f"{what}/pe: {row['pe']}")
        want(place not in places, f"{what}: two blobs on one processing element")
        places.add(place)
    for number, one in enumerate(populations):
        wanted = 0 if one["place"] == "host" else one["units"]
        want(covered[number] == wanted, f"populations/{number}: {covered[number]} units placed")
    for number, row in enumerate(manifest["routing"]):
        want(tuple(row["chip"]) in chips, f"routing/{number}/chip: {row['chip']} is not in use")


def _check_indices(manifest: Mapping[str, Any], count: int) -> None:
    for name in ("inputs", "outputs"):
        for number, row in enumerate(manifest["host"][name]):
            where = f"host/{name}/{number}/population"
            want(row["population"] < count, f"{where}: {row['population']} of {count}")
            place = manifest["populations"][row["population"]]["place"]
            wanted = "host" if name == "inputs" else "chip"
            want(place == wanted, f"{where}: it lies on the {place}")
    for number, row in enumerate(manifest["projections"]):
        for end in ("source", "target"):
            want(row[end] < count, f"projections/{number}/{end}: {row[end]} of {count}")


def check_parts(
    manifest: Mapping[str, Any],
    blobs: tuple[Blob, ...],
    tables: Mapping[tuple[int, int], RoutingTable],
    arrays: Mapping[str, Any],
) -> None:
    """Check blobs, tables and arrays against the manifest.

    Raises:
        ValueError: the first thing that does not fit.
    """
    starts = {row["keys"][0][0]: row for row in manifest["populations"]}
    memory = manifest["chip"]["data_address"] + manifest["chip"]["data_bytes"]
    for row, blob in zip(manifest["pes"], blobs, strict=True):
        name, population = row["blob"], manifest["populations"][row["population"]]
        want(blob.kind == population["kind"], f"{name}: its units are {blob.kind}")
        want(
            blob.units == row["units"],
            f"{name}: {blob.units} units, the manifest has {row['units']}",
        )
        want(
            blob.first_key == row["first_key"], f"{name}: its first key differs from the manifest's"
        )
        want(blob.level == population["level"], f"{name}: its level differs from the manifest's")
        parts = {part["part"]: part["bytes"] for part in row["memory"]}
        for part, size in blob.memory().items():
            want(parts.get(part) == size, f"{name}: the memory map of {part}")
        end = blob.load_address + parts.get("blob", 0) + sum(blob.memory().values())
        want(end <= memory, f"{name}: needs memory up to {end}, which ends at {memory}")
        for one in blob.ranges:
            source = starts.get(one.first_key)
            want(
                source is not None and source["units"] == one.count == (
                    blob.projections[one.projection].source_units
                ),
                f"{name}: a source range that is no population",
            )  # fmt: skip
    for row in manifest["routing"]:
        entries = len(tables[row["chip"][0], row["chip"][1]].entries)
        want(entries == row["entries"], f"{row['file']}: {entries} entries")
    _check_host(manifest, arrays)


def _check_host(manifest: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    populations = manifest["populations"]
    for row in manifest["host"]["inputs"]:
        is_tokens = row["content"] == "tokens"
        want(is_tokens == ("embedding" in row), "host/inputs: tokens have an embedding")
        if is_tokens:
            units = populations[row["population"]]["units"]
            shape = _array(arrays, row["embedding"]).shape
            want(
                len(shape) == 2 and shape[1] == units,
                f"host array {shorten(row['embedding'])}: {shape}",
            )
    for row in manifest["host"]["outputs"]:
        width = populations[row["population"]]["units"]
        for layer in row["layers"]:
            shape = _array(arrays, layer["weight"]).shape
            want(
                len(shape) == 2 and shape[1] == width,
                f"host array {shorten(layer['weight'])}: shape {shape} after {width} units",
            )
            width = shape[0]
            if "bias" in layer:
                bias = _array(arrays, layer["bias"]).shape
                want(bias == (width,), f"host array {shorten(layer['bias'])}: shape {bias}")


def _array(arrays: Mapping[str, Any], name: str) -> Any:
    want(name in arrays, f"host array {shorten(name[:80])} is missing")
    return arrays[name]


def _product(sizes: list[int]) -> int:
    count = 1
    for size in sizes:
        count *= size
    return count
