"""The graph of a network of event layers, as numpy arrays: what exporters read.

    >>> graph = evenfall.exporting.lower(model)     # by the lowering that the model's class has
    >>> graph.save("graph")                          # graph.json and graph.safetensors
    >>> evenfall.graph.Graph.load("graph")

It needs numpy, and safetensors to save and load: the extra `graph`. It never needs torch.
"""

from .graph import Graph
from .layers import (
    Activation,
    Conv2d,
    CubaLif,
    Dense,
    Egru,
    Embedding,
    Flatten,
    If,
    Input,
    Layer,
    Lif,
    Readout,
    SumPool,
)

__all__ = [
    "Activation",
    "Conv2d",
    "CubaLif",
    "Dense",
    "Egru",
    "Embedding",
    "Flatten",
    "Graph",
    "If",
    "Input",
    "Layer",
    "Lif",
    "Readout",
    "SumPool",
]
