"""What `measure` returns: figures of a model, of its matrices and of its units."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Part = Literal["first layer's input", "hidden", "decoder"]


@dataclass(frozen=True, slots=True)
class MeasuredMatrix:
    """A matrix: its weights, its inputs and its operations per item.

    Attributes:
        name: full name of the parameter.
        part: "first layer's input": it multiplies the model's input or its embedding; "decoder":
            the last matrix that was called; "hidden": any other.
        weights: their number.
        nonzero: how many are not zero.
        activity: the share of its inputs that are not zero; None if they are not visible, and all
            count as not zero.
        dense_macs: products of every weight with every input.
        effective_macs: products in which neither is zero.
        effective_acs: such products with inputs of -1, 0 and 1 alone.
    """

    name: str
    part: Part
    weights: int
    nonzero: int
    activity: float | None
    dense_macs: float
    effective_macs: float
    effective_acs: float

    @property
    def density(self) -> float:
        """The share of weights that are not zero; 1 for an empty matrix."""
        return self.nonzero / self.weights if self.weights else 1.0

    @property
    def expected(self) -> float:
        """Dense MACs x density x activity: the effective operations if the zeros of the weights
        and those of the inputs were independent."""
        return self.dense_macs * self.density * (1 if self.activity is None else self.activity)


@dataclass(frozen=True, slots=True)
class MeasuredUnits:
    """The outputs of an activation function or of a recurrent layer.

    Attributes:
        name: of the module.
        values: the number of outputs that were seen.
        activation_sparsity: the share of zeros.
        backward_sparsity: the share that passes no gradient on; None if unknown.
    """

    name: str
    values: int
    activation_sparsity: float
    backward_sparsity: float | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a model stores and computes, in NeuroBench's terms. Operations are per item.

    Attributes:
        item: "token" or "sample".
        items: how many were measured.
        parameters: the number of parameters.
        footprint: bytes of parameters and buffers.
        matrices: those that were multiplied, in the order of their calls.
        units: of activation functions and recurrent layers.
        unknown: name -> class of the modules that no counter knows; their operations are missing.
        not_called: modules with matrices that were not called.
    """

    item: str
    items: int
    parameters: int
    footprint: int
    matrices: tuple[MeasuredMatrix, ...]
    units: tuple[MeasuredUnits, ...]
    unknown: dict[str, str]
    not_called: tuple[str, ...]

    @property
    def connection_sparsity(self) -> float:
        """The share of zeros among the weights of the matrices."""
        weights = sum(one.weights for one in self.matrices)
        return 1 - sum(one.nonzero for one in self.matrices) / weights if weights else 0.0

    @property
    def activation_sparsity(self) -> float | None:
        """The share of zeros among the outputs of all units; None without units."""
        values = sum(one.values for one in self.units)
        zeros = sum(one.values * one.activation_sparsity for one in self.units)
        return zeros / values if values else None

    @property
    def backward_sparsity(self) -> float | None:
        """The share of outputs that pass no gradient on, over the units where it is known."""
        known = [
            (one.values, one.backward_sparsity)
            for one in self.units
            if one.backward_sparsity is not None
        ]
        values = sum(number for number, _ in known)
        return sum(number * share for number, share in known) / values if values else None

    @property
    def dense_macs(self) -> float:
        """Products of every weight with every input, per item."""
        return sum(one.dense_macs for one in self.matrices)

    @property
    def effective_macs(self) -> float:
        """Products in which neither is zero, per item."""
        return sum(one.effective_macs for one in self.matrices)

    @property
    def effective_acs(self) -> float:
        """The same where every input is -1, 0 or 1, per item."""
        return sum(one.effective_acs for one in self.matrices)

    @property
    def expected(self) -> float:
        """The sum over the matrices of dense MACs x density x activity."""
        return sum(one.expected for one in self.matrices)

    def part(self, part: Part) -> tuple[float, float]:
        """(dense, effective) operations of one part, per item."""
        found = [one for one in self.matrices if one.part == part]
        return (
            sum(one.dense_macs for one in found),
            sum(one.effective_macs + one.effective_acs for one in found),
        )

    def as_dict(self) -> dict[str, Any]:
        """All figures, as JSON has them."""
        names = (
            "connection_sparsity", "activation_sparsity", "backward_sparsity", "dense_macs",
            "effective_macs", "effective_acs", "expected",
        )  # fmt: skip
        matrices = [
            {**asdict(one), "density": one.density, "expected": one.expected}
            for one in self.matrices
        ]
        figures = {name: getattr(self, name) for name in names}
        return {**asdict(self), **figures, "matrices": matrices}
