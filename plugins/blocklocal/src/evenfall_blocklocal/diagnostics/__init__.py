"""What a user wants to know of block-local training: alignment, probes, memory and time."""

from .alignment import align_gradients
from .probes import probe_blocks
from .steps import StepCost, measure_step

__all__ = ["StepCost", "align_gradients", "measure_step", "probe_blocks"]
