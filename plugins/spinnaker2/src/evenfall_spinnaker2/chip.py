"""The constants of the chip, read from chip.yaml, where each has its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from evenfall.checks import check_choice


@dataclass(frozen=True)
class Chip:
    """What the compiler needs to know of a chip. Sizes in bytes."""

    places: tuple[tuple[int, int, int], ...]
    usable_pes: int
    sram_bytes: int
    code_bytes: int
    stack_bytes: int
    router_entries: int
    clock_hz: float
    tick_seconds: float
    accumulator_bits: int
    weight_limit: int
    default_events: int

    @property
    def data_address(self) -> int:
        """Where data begins: behind the code."""
        return self.code_bytes

    @property
    def data_bytes(self) -> int:
        """Memory of a processing element for blob, state, queue and recording."""
        return self.sram_bytes - self.code_bytes - self.stack_bytes


@cache
def constants() -> Mapping[str, Any]:
    """The whole of chip.yaml."""
    import yaml

    text = files("evenfall_spinnaker2").joinpath("chip.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def value(section: str, name: str) -> Any:
    """One constant."""
    return constants()[section][name]["value"]


def source(section: str, name: str) -> str:
    """Where a constant comes from."""
    return str(constants()[section][name]["source"])


@cache
def load_chip(profile: str = "default") -> Chip:
    """The chip as a profile uses it.

    Raises:
        ValueError: no such profile.
    """
    profiles = constants()["profiles"]
    check_choice("profile", profile, profiles)
    chip = Chip(
        places=_places(),
        usable_pes=value("floor", "usable_pes"),
        sram_bytes=value("memory", "sram_bytes"),
        code_bytes=value("memory", "code_bytes"),
        stack_bytes=value("memory", "stack_bytes"),
        router_entries=value("routing", "router_entries"),
        clock_hz=value("timing", "clock_hz"),
        tick_seconds=value("timing", "tick_seconds"),
        accumulator_bits=value("arithmetic", "accumulator_bits"),
        weight_limit=value("arithmetic", "weight_limit"),
        default_events=value("queue", "default_events"),
    )
    changes = {
        name: row["value"]
        for name, row in profiles[profile].items()
        if name in Chip.__dataclass_fields__
    }
    return replace(chip, **changes)


def _places() -> tuple[tuple[int, int, int], ...]:
    """(quad x, quad y, number in the quad) of each processing element, along a path on which
    neighbours in the list are neighbours on the chip."""
    absent = {(x, y) for x, y in value("floor", "absent_quads")}
    width, height = value("floor", "quads_x"), value("floor", "quads_y")
    quads = []
    for x in range(1, width + 1):
        column = range(1, height + 1) if x % 2 else range(height, 0, -1)
        quads += [(x, y) for y in column if (x, y) not in absent]
    return tuple((x, y, pe) for x, y in quads for pe in range(value("floor", "pes_per_quad")))
