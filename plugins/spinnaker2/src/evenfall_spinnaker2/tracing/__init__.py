"""Compare an image with the model it was made of, layer by layer and step by step."""

from .reference import Reference, simulate
from .sensitivity import Loss, losses
from .trace import LayerTrace, Trace, trace

__all__ = ["LayerTrace", "Loss", "Reference", "Trace", "losses", "simulate", "trace"]
