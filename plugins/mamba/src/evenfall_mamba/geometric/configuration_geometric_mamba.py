"""Configuration of the Mamba that knows the time of its tokens."""

from __future__ import annotations

import math
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import MambaConfig


@strict
class GeometricMambaConfig(MambaConfig):
    r"""
    A `MambaConfig`, and the unit of the coordinates.

    Args:
        coordinate_unit: the difference of two coordinates that counts as one step, in the unit of
            the coordinates, above 0. With events in milliseconds, 20 apart on average: 20.
        generation_step: the difference that `generate` puts between tokens it writes, in the unit
            of the coordinates, not negative.
    """

    model_type = "geometric_mamba"

    coordinate_unit: float | int = 1.0
    generation_step: float | int = 1.0

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if not 0 < self.coordinate_unit < math.inf:
            raise ValueError(
                f"coordinate_unit must be finite and above 0, got {self.coordinate_unit}"
            )
        if not 0 <= self.generation_step < math.inf:
            raise ValueError(
                f"generation_step must be finite and not negative, got {self.generation_step}"
            )

    @property
    def number_of_conv_states(self) -> int:
        """Slots of a cache layer: the state of Mamba, and the last coordinate."""
        return 2


__all__ = ["GeometricMambaConfig"]
