"""Configuration of the Mamba models that take token coordinates."""

from __future__ import annotations

import math
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import MambaConfig


@strict
class GeometricMambaConfig(MambaConfig):
    r"""
    A `MambaConfig` with settings for the coordinates.

    Args:
        coordinate_unit: coordinate difference that counts as one step, above 0. For events 20 ms
            apart on average and coordinates in ms, use 20.
        generation_step: coordinate difference between tokens that `generate` appends, at least 0.

    Raises:
        ValueError: a setting is out of range or not finite.
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
                f"generation_step must be finite and at least 0, got {self.generation_step}"
            )

    @property
    def number_of_conv_states(self) -> int:
        """Slots of a cache layer: one for Mamba's state, one for the last coordinate."""
        return 2


__all__ = ["GeometricMambaConfig"]
