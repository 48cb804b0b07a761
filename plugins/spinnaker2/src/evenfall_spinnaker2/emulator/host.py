"""What the host does for an image: it encodes inputs as events and computes the last layers.

Dimensions: T steps, N units of a population, C outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evenfall.errors import shorten

from ..image import Image
from .compiled import compiled
from .layout import Population


@compiled
def _event_rows(by_unit: Any, values: Any, out: Any) -> None:
    """Add the rows of the units that sent something, in ascending order."""
    for step in range(len(values)):
        total = out[step]
        for unit in range(values.shape[1]):
            value = values[step, unit]
            if value != 0:
                row = by_unit[unit]
                for at in range(len(total)):
                    total[at] = total[at] + row[at] * value


class Host:
    """Inputs and outputs of an image.

    Attributes:
        read: names of the populations whose events the host reads.
        inputs: name of a population -> its content: "tokens", "values" or "events".
    """

    def __init__(self, image: Image, populations: tuple[Population, ...]) -> None:
        self._populations = populations
        self._embedding: dict[str, np.ndarray] = {}
        self._scale: dict[str, np.float32] = {}
        self.inputs: dict[str, str] = {}
        for row in image.manifest["host"]["inputs"]:
            one = _at(populations, row["population"])
            if one.pes is not None or one.name in self.inputs:
                raise ValueError(f"input {shorten(one.name)}: must be one population on the host")
            self.inputs[one.name] = row["content"]
            if "embedding" in row:
                self._embedding[one.name] = _matrix(image, row["embedding"], one.units)
            elif row["content"] == "tokens" and one.units != 1:
                raise ValueError(f"input {shorten(one.name)}: tokens without an embedding")
            if "quantise_scale" in row:
                self._scale[one.name] = np.float32(row["quantise_scale"])
        silent = {p.name for p in populations if p.pes is None} - set(self.inputs)
        if silent:
            raise ValueError(f"image: populations {sorted(silent)} on the host have no input")
        self._outputs = [
            _Output(image, row, populations) for row in image.manifest["host"]["outputs"]
        ]
        self.read = {one.population for one in self._outputs}

    def encode(self, inputs: Any, *, quantise: bool = True) -> dict[str, np.ndarray]:
        """Inputs as the numbers that each unit sends, (T, N) float32 by name of the population.

        Without `quantise`, inputs of int8 arithmetic stay as they were given.

        Raises:
            ValueError: an input is missing or unknown, or has another shape, length or range.
        """
        if not isinstance(inputs, dict):
            if len(self.inputs) != 1:
                got = type(inputs).__name__
                raise ValueError(f"inputs: want a dict with {sorted(self.inputs)}, got {got}")
            inputs = {next(iter(self.inputs)): inputs}
        if set(inputs) != set(self.inputs):
            raise ValueError(f"inputs: got {shorten(sorted(inputs))}, want {sorted(self.inputs)}")
        by_name = {one.name: one for one in self._populations}
        values = {
            name: self._encode(by_name[name], array, quantise) for name, array in inputs.items()
        }
        if len({len(rows) for rows in values.values()}) != 1:
            raise ValueError(f"inputs differ in length: { {n: len(v) for n, v in values.items()} }")
        return values

    def _encode(self, one: Population, inputs: Any, quantise: bool) -> np.ndarray:
        array = np.asarray(inputs)
        if one.name in self._embedding:
            table = self._embedding[one.name]
            if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
                raise ValueError(
                    f"input {shorten(one.name)}: want (T,) integers, got {_short(array)}"
                )
            if array.size and not 0 <= array.min() <= array.max() < len(table):
                raise ValueError(
                    f"input {shorten(one.name)}: tokens must be 0 to {len(table) - 1}, got "
                    f"{array.min()} to {array.max()}"
                )
            rows = table[array.astype(np.int64)]
        else:
            shapes = ((one.units,), one.shape)
            if array.dtype.kind not in "fiub" or array.ndim < 1 or array.shape[1:] not in shapes:
                wanted = ", ".join(map(str, one.shape))
                raise ValueError(
                    f"input {shorten(one.name)}: want numbers of shape (T, {wanted}), got "
                    f"{_short(array)}"
                )
            rows = array.reshape(len(array), one.units).astype(np.float32)
            if self.inputs[one.name] == "events" and (rows != np.rint(rows)).any():
                wrong = rows[rows != np.rint(rows)][0]
                raise ValueError(
                    f"input {shorten(one.name)}: events must be whole numbers, got {wrong:g}"
                )
        if not (finite := np.isfinite(rows)).all():
            step = int(np.argmin(finite.all(1)))
            raise ValueError(
                f"input {shorten(one.name)}: values must be finite as float32, got NaN or infinity "
                f"at step {step}"
            )
        if quantise and one.name in self._scale:
            rows = np.clip(np.rint(rows / self._scale[one.name]), -127, 127)
        return np.ascontiguousarray(rows, np.float32)

    def decode(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What populations sent, (T, N) by name -> the outputs, by name."""
        return {one.name: one(values[one.population]) for one in self._outputs}


class _Output:
    """One output: a population, dense layers on the host, and which steps count."""

    def __init__(self, image: Image, row: Any, populations: tuple[Population, ...]) -> None:
        one = populations[row["population"]]
        self.name, self.population, self.steps = row["name"], one.name, row["steps"]
        self._layers = []
        width = one.units
        for layer in row["layers"]:
            weight = _matrix(image, layer["weight"], width)  # (outputs, inputs)
            width = len(weight)
            bias: np.ndarray = np.zeros(width, np.float32)
            if "bias" in layer:
                bias = _array(image, layer["bias"])
                if bias.shape != (width,):
                    raise ValueError(f"host array {shorten(layer['bias'])}: got {_short(bias)}")
            by_unit = np.ascontiguousarray(weight.T)
            self._layers.append((by_unit, bias, layer["activation"] == "relu"))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        for by_unit, bias, relu in self._layers:
            out = np.zeros((len(values), by_unit.shape[1]), np.float32)
            _event_rows(by_unit, values, out)
            out += bias
            values = np.maximum(out, np.float32(0)) if relu else out
        if self.steps == "last":
            return values[-1] if len(values) else np.zeros(values.shape[1], np.float32)
        return values.sum(0) if self.steps == "sum" else values


def _at(populations: tuple[Population, ...], number: int) -> Population:
    if number >= len(populations):
        raise ValueError(f"image: no population {number}")
    return populations[number]


def _array(image: Image, name: str) -> np.ndarray:
    if name not in image.arrays:
        raise ValueError(f"image: no host array {shorten(name)}; it has {sorted(image.arrays)}")
    return np.asarray(image.arrays[name])


def _matrix(image: Image, name: str, columns: int) -> np.ndarray:
    array = _array(image, name)
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(f"host array {shorten(name)}: got {_short(array)}, want {columns} columns")
    return array


def _short(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {array.shape}"
