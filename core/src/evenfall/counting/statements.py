"""What a counter states about a module: its matrices, and the operations of one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

Role = Literal["input", "recurrent", "output", "lookup"]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A weight matrix of a module. Pruning, compression, quantisation and adapters read it, too.

    Attributes:
        parameter: its name in the module, such as "weight". It can belong to a submodule that the
            module uses without calling it: "out_proj.weight".
        input_axis: the axis of the inputs of the product; the other axes are outputs, or the kernel
            of a convolution.
        role: what it multiplies. "input": the module's input; "recurrent": the module's own result
            of the previous step; "output": a result that the module computes from these. The rows
            of a "lookup" table are read, not multiplied.
        gates: in how many equal parts the outputs fall, such as 4 in an LSTM. A block of weights
            does not cross from one part into the next.
    """

    parameter: str
    input_axis: int
    role: Role = "input"
    gates: int = 1

    @property
    def output_axis(self) -> int:
        """The axis of the outputs: the first one that is not the axis of the inputs."""
        return int(self.input_axis == 0)

    def of(self, module: Any) -> Any:
        """The tensor that the module computes with; of a parametrised weight, the result, and of
        an `evenfall_kernels.StoredMatrix`, the dense matrix."""
        weight = attrgetter(self.parameter)(module)
        if not hasattr(weight, "describe"):
            return weight
        dense = weight.dense()  # (inputs, outputs)
        return dense if self.input_axis == 0 else dense.t()


@dataclass(frozen=True, slots=True)
class Operations:
    """Products of weights and inputs.

    Attributes:
        dense_macs: products of every weight with every input.
        effective_macs: products in which neither is zero.
        effective_acs: such products if every input is -1, 0 or 1, so that additions are enough.
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


@dataclass(frozen=True, slots=True)
class Activity:
    """The outputs of units during a call: of an activation function or a recurrent layer.

    Attributes:
        values: the number of outputs, over all units, steps and sequences.
        zeros: how many of them are zero.
        silent: how many pass no gradient on, because the derivative, or its surrogate, is zero
            there; None if the counter does not say.
    """

    values: int
    zeros: int
    silent: int | None = None

    def __add__(self, other: Activity) -> Activity:
        known = self.silent is not None and other.silent is not None
        silent = (self.silent or 0) + (other.silent or 0)
        return Activity(
            self.values + other.values, self.zeros + other.zeros, silent if known else None
        )


def no_matrices(module: Any) -> tuple[Matrix, ...]:
    """The matrices of a module that multiplies no weights."""
    return ()


def no_operations(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    """The operations of a module that multiplies no weights."""
    return Operations()


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a parameter or buffer of a module, whose places are units, once in each gate."""

    parameter: str
    axis: int
    gates: int = 1


@dataclass(frozen=True, slots=True)
class Units:
    """Units of a module that have no order: permuted in all these axes, and in those of the modules
    that they come from and go to, they leave what the model computes as it is.

    Attributes:
        axes: where they are in the module; empty for a function of each unit alone.
        read: whether they are the last axis of the module's input.
        written: whether they are the last axis of its output.
    """

    axes: tuple[Axis, ...]
    read: bool = False
    written: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """The output of one submodule is the input of another; between them is at most a function of
    each unit alone. Names are those in the module that states it."""

    writer: str
    reader: str


def no_units(module: Any) -> tuple[Units, ...]:
    """The units of a module that does not say which it has."""
    return ()


@dataclass(frozen=True, slots=True)
class Counter:
    """The matrices and operations of one class; what `evenfall_register_counters` registers.

    It counts the whole module; its submodules are not counted again, unless it states `links`: then
    it counts nothing itself, and says which submodules read the outputs of which.

    Attributes:
        matrices: called with the module; returns its matrices.
        count: called with the module, the arguments of forward by name, and the output of forward;
            returns the operations of that call. It runs without gradients.
        methods: the methods that compute. A subclass that overrides one of them is unknown.
        activity: called like `count`; returns the activity of the module's units, or None if this
            module has none.
        compressible: whether `forward` also computes where a matrix was replaced by an
            `evenfall_kernels.StoredMatrix` of it, (inputs, outputs), for inference.
        units: called with the module; returns its units, see `Units`.
        links: called with the module; returns every reader of each submodule that it names.
    """

    matrices: Callable[[Any], tuple[Matrix, ...]] = no_matrices
    count: Callable[[Any, Mapping[str, Any], Any], Operations] = no_operations
    methods: tuple[str, ...] = ("forward",)
    activity: Callable[[Any, Mapping[str, Any], Any], Activity | None] | None = None
    compressible: bool = False
    units: Callable[[Any], tuple[Units, ...]] = no_units
    links: Callable[[Any], tuple[Link, ...]] | None = None
