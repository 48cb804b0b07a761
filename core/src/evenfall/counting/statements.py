"""What a counter states of a module: its matrices, and the operations of one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

Role = Literal["input", "recurrent", "output", "lookup"]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A weight of a module that multiplies what the module reads.

    Pruning, compression, quantisation and adapters use the same statement.

    Attributes:
        parameter: its name in the module, "weight" or, of a submodule that the module uses without
            calling it, "out_proj.weight".
        input_axis: the axis that runs over the inputs of the product; the others are outputs, or
            the kernel of a convolution.
        role: what it multiplies: "input", what the module is given; "recurrent", the module's own
            result of the step before; "output", what the module works out from these. Of a "lookup"
            table rows are read, and nothing is multiplied.
    """

    parameter: str
    input_axis: int
    role: Role = "input"

    def of(self, module: Any) -> Any:
        """The tensor, as the module computes with it: of a parametrised weight, the result."""
        return attrgetter(self.parameter)(module)


@dataclass(frozen=True, slots=True)
class Operations:
    """Products of weights and inputs.

    Attributes:
        dense_macs: every weight times every input.
        effective_macs: those in which neither is zero.
        effective_acs: the same, where every input is -1, 0 or 1, so that adding is enough.
    """

    dense_macs: int = 0
    effective_macs: int = 0
    effective_acs: int = 0

    def __add__(self, other: Operations) -> Operations:
        return Operations(
            self.dense_macs + other.dense_macs,
            self.effective_macs + other.effective_macs,
            self.effective_acs + other.effective_acs,
        )


def no_matrices(module: Any) -> tuple[Matrix, ...]:
    """Of a module that multiplies no weights."""
    return ()


def no_operations(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    """Of a module that multiplies no weights."""
    return Operations()


@dataclass(frozen=True, slots=True)
class Counter:
    """What is known of a class; the hook `evenfall_register_counters` registers references to it.

    It speaks for the whole module: submodules are not asked.

    Attributes:
        matrices: called with the module, returns its matrices.
        count: called with the module, the arguments of its forward by name, and what forward
            returned; returns the operations of that call. It is run without gradient.
        methods: those that do the work. A subclass with others is not known.
    """

    matrices: Callable[[Any], tuple[Matrix, ...]] = no_matrices
    count: Callable[[Any, Mapping[str, Any], Any], Operations] = no_operations
    methods: tuple[str, ...] = ("forward",)
