"""Estimates of time and energy. The constants are fitted to published figures: they are no
measurement and no check of the chip."""

from __future__ import annotations

from dataclasses import dataclass

from evenfall_spinnaker2.chip import source, value
from evenfall_spinnaker2.image import Image

from .facts import PeFacts, weight_bytes


@dataclass(frozen=True)
class Estimate:
    """A step, at one clock.

    Attributes:
        clock_hz: of the processing elements.
        products, sram_bytes: of all processing elements.
        busy_cycles: of all processing elements.
        seconds_pipelined: the slowest processing element: all layers work at once.
        seconds_sequential: the slowest one of each level, one level after the other, as in
            generation.
        joules_pipelined, joules_sequential: busy cycles, and sleep power over that time.
    """

    clock_hz: float
    products: float
    sram_bytes: float
    busy_cycles: float
    seconds_pipelined: float
    seconds_sequential: float
    joules_pipelined: float
    joules_sequential: float


def estimate(image: Image, pes: list[PeFacts], *, fast: bool = False) -> Estimate:
    """Time and energy of a step, without the timer's tick, the network and the host.

    Args:
        image: for levels and weights.
        pes: their products.
        fast: at 300 MHz and 0.8 V instead of 150 MHz and 0.5 V.
    """
    prefix = "fast_" if fast else ""
    clock = value("timing", f"{prefix}clock_hz")
    picojoules = value("energy", f"{prefix}picojoules_per_cycle")
    sleep = value("energy", f"{prefix}sleep_watts")
    per_product = value("timing", "cycles_per_product")
    chips = len(image.manifest["chips"])
    slowest: dict[int, float] = {}
    for one in pes:
        level = image.manifest["populations"][one.population]["level"]
        slowest[level] = max(slowest.get(level, 0.0), one.products * per_product)
    busy = sum(one.products for one in pes) * per_product
    sram = sum(one.products * weight_bytes(image.blobs[one.number]) for one in pes)
    pipelined, sequential = max(slowest.values()) / clock, sum(slowest.values()) / clock
    work = busy * picojoules * 1e-12
    return Estimate(
        clock, sum(one.products for one in pes), sram, busy, pipelined, sequential,
        work + sleep * chips * pipelined, work + sleep * chips * sequential,
    )  # fmt: skip


def constants_used() -> list[tuple[str, str, str]]:
    """(constant, value, source) of the estimates."""
    rows = [
        ("timing", "cycles_per_product", "cycles a product"),
        ("energy", "picojoules_per_cycle", "pJ a cycle and busy PE, 150 MHz"),
        ("energy", "fast_picojoules_per_cycle", "pJ a cycle and busy PE, 300 MHz"),
        ("energy", "sleep_watts", "W asleep, 0.5 V"),
        ("energy", "fast_sleep_watts", "W asleep, 0.8 V"),
    ]
    return [(text, f"{value(part, name):g}", source(part, name)) for part, name, text in rows]
