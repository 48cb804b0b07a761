"""Operations, counted: which matrices a module has, and what a call of it multiplies and adds.

    >>> from evenfall.counting import count_operations
    >>> count = count_operations(model, x)
    >>> count.total
    Operations(dense_macs=1200000, effective_macs=90000, effective_acs=0)
    >>> count.unknown
    {'head': 'my_package.layers.MyHead'}

The terms are NeuroBench's. `dense MACs` are the products of every weight with every input. Those
with a zero weight or a zero input can be left out; the rest are `effective`: MACs, or ACs
(additions alone) where every input is -1, 0 or 1. Only products with weights count: no biases,
elementwise operations, or products of two activations as in attention.

A counter knows one class. It is registered under the public path of that class, and stands for a
subclass only where that has no `forward` of its own. What no counter knows is reported by name.

Source: Yik et al., "The NeuroBench framework for benchmarking neuromorphic computing algorithms
and systems", Nature Communications 2025, arXiv 2304.04640.
"""

from .lookup import counter_for, without_wrappers
from .products import multiply, multiply_states
from .statements import Counter, Matrix, Operations
from .walk import OperationCount, PlacedMatrix, count_operations, list_matrices

__all__ = [
    "Counter",
    "Matrix",
    "OperationCount",
    "Operations",
    "PlacedMatrix",
    "count_operations",
    "counter_for",
    "list_matrices",
    "multiply",
    "multiply_states",
    "without_wrappers",
]
