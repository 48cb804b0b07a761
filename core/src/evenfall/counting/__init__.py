"""Count operations: the matrices of a module, and the MACs and ACs of one call.

    >>> from evenfall.counting import count_operations
    >>> count = count_operations(model, x)
    >>> count.total
    Operations(dense_macs=1200000, effective_macs=90000, effective_acs=0)
    >>> count.unknown
    {'head': 'my_package.layers.MyHead'}

The terms are NeuroBench's. `Dense MACs` are the products of every weight with every input. Those
with a zero weight or a zero input can be skipped; the others are `effective`: MACs, or ACs
(additions only) if every input is -1, 0 or 1. Only products with weights count, not biases,
elementwise operations, or products of two activations as in attention.

A counter knows one class and is registered under its public path. It counts a subclass only if that
has no `forward` of its own. Modules without a counter are reported by name.

Source: Yik et al., "The NeuroBench framework for benchmarking neuromorphic computing algorithms
and systems", Nature Communications 2025, arXiv 2304.04640.
"""

from evenfall.class_lookup import is_sharded, without_wrappers

from .lookup import counter_for
from .products import Product, multiply, multiply_states, multiply_unseen, record_product
from .statements import Activity, Axis, Counter, Link, Matrix, Operations, Units
from .symmetry import PlacedAxis, UnitGroup, find_unit_groups
from .walk import OperationCount, PlacedMatrix, count_operations, list_matrices

__all__ = [
    "Activity",
    "Axis",
    "Counter",
    "Link",
    "Matrix",
    "OperationCount",
    "Operations",
    "PlacedAxis",
    "PlacedMatrix",
    "Product",
    "UnitGroup",
    "Units",
    "count_operations",
    "counter_for",
    "find_unit_groups",
    "is_sharded",
    "list_matrices",
    "multiply",
    "multiply_states",
    "multiply_unseen",
    "record_product",
    "without_wrappers",
]
