"""Compare an image with the model it was made of, layer by layer and step by step."""

from .comparison import LayerTrace, Trace, network_of, trace
from .reference import Reference, simulate
from .sensitivity import Loss, losses

__all__ = ["LayerTrace", "Loss", "Reference", "Trace", "losses", "network_of", "simulate", "trace"]
