"""What a run of the emulator returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Run:
    """Outputs and counts of one run. Dimensions: T steps, C outputs.

    Attributes:
        outputs: by name of the output, (T, C) float32, or (C,) if only the last step or the sum
            counts.
        events: by name of the population, (T,) events at each step.
        operations: (T,) synaptic operations at each step: additions of a weight times an event.
        rasters: by name, in the order of the levels, (T, units) float32: what each unit sent. Empty
            unless recorded.
    """

    outputs: dict[str, Any] = field(repr=False)
    events: dict[str, Any] = field(repr=False)
    operations: Any = field(repr=False)
    rasters: dict[str, Any] = field(default_factory=dict, repr=False)
