"""What changes if events are added in the order in which packets could arrive.

The PE program sorts its queue, so that its sums do not depend on the network on chip. This shows
what a program that does not sort would risk.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evenfall.checks import check_integer

from ..image import Image
from .emulator import Emulator


@dataclass(frozen=True)
class OrderStudy:
    """Random orders beside ascending keys.

    Attributes:
        orders: number of random orders.
        steps: steps of each run.
        events: by population, events of the run with ascending keys.
        flipped: by population, units and steps whose event came or went, in all orders.
        changed_outputs: steps at which the largest output is another one, in all orders.
        largest_gap: of an output in any order.
    """

    orders: int
    steps: int
    events: dict[str, int]
    flipped: dict[str, int]
    changed_outputs: int
    largest_gap: float


def compare_orders(
    image: Image | str | Path, inputs: Any, orders: int = 100, *, allow_overflow: bool = False
) -> OrderStudy:
    """Run the same inputs with ascending keys and with random orders, seeds 0, 1, ...

    Args:
        image: an image, or its folder.
        inputs: of `Emulator.run`.
        orders: number of random orders.
        allow_overflow: of `Emulator`.

    Raises:
        ValueError: `orders` is below 1, or what `Emulator` and `run` raise.
    """
    check_integer("orders", orders, 1)
    ordered = Emulator(image, allow_overflow=allow_overflow)
    base = ordered.run(inputs, record=True)
    emulator = Emulator(ordered.image, order="random", allow_overflow=allow_overflow)
    flipped = dict.fromkeys(base.rasters, 0)
    changed, gap = 0, 0.0
    for seed in range(orders):
        emulator.seed = seed
        emulator.reset()
        run = emulator.run(inputs, record=True)
        for name, raster in run.rasters.items():
            flipped[name] += int(np.count_nonzero((raster != 0) != (base.rasters[name] != 0)))
        for name, values in run.outputs.items():
            if values.size:
                gap = max(gap, float(np.abs(values - base.outputs[name]).max()))
                largest = values.argmax(-1) != base.outputs[name].argmax(-1)
                changed += int(np.count_nonzero(largest))
    events = {name: int(base.events[name].sum()) for name in base.rasters}
    return OrderStudy(orders, ordered.steps, events, flipped, changed, gap)
