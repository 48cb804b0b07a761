"""The network of a graph: which layers become populations, and what connects them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from evenfall.checks import check_choice, check_number
from evenfall.errors import LoweringError, shorten
from evenfall.graph import (
    Conv2d,
    CubaLif,
    Dense,
    Egru,
    Embedding,
    Flatten,
    Graph,
    If,
    Input,
    Lif,
    Readout,
    SumPool,
)

from .network import Convolution, HostLayer, Matrix, Network, Output, Population, Projection
from .neurons import INTEGRATORS, discrete

_SPIKING = (If, Lif, CubaLif)
_WEIGHTS = (Dense, Conv2d)
_SHAPES = (Flatten, SumPool)


def make_network(
    graph: Graph, *, dt: float = 1e-3, integrator: str = "forward", decoder: str = "host"
) -> Network:
    """Populations and projections of a graph.

    Args:
        graph: the layers.
        dt: seconds of a step, for spiking layers.
        integrator: "forward" (Euler) or "exponential".
        decoder: where dense layers between the last events and the output lie: "host" or "chip".

    Raises:
        LoweringError: something has no counterpart on the chip; the message says what.
        ValueError: an argument is wrong.
    """
    check_choice("integrator", integrator, INTEGRATORS)
    check_choice("decoder", decoder, ("host", "chip"))
    check_number("dt", dt, above=True)
    return _Maker(graph, dt, integrator, decoder == "host").network()


class _Maker:
    def __init__(self, graph: Graph, dt: float, integrator: str, on_host: bool) -> None:
        self.graph, self.dt, self.integrator = graph, dt, integrator
        has_events = any(isinstance(x, (Egru, *_SPIKING)) for x in graph.layers.values())
        self.host = self._host_layers() if on_host and has_events else {}
        self.populations: dict[str, Population] = {}
        self.projections: list[Projection] = []

    def network(self) -> Network:
        """Make the network."""
        names = [name for name in self.graph.order() if self._is_population(name)]
        for name in names:
            self.populations[name] = self._population(name)
        for name in names:
            self._connect(name)
        self._set_levels()
        order = sorted(self.populations.values(), key=lambda one: (one.kind != "input", one.level))
        outputs = [
            self._output(name)
            for name, layer in self.graph.layers.items()
            if isinstance(layer, Readout)
        ]
        return Network(
            {one.name: one for one in order},
            tuple(self.projections),
            tuple(outputs),
            dict(self.graph.metadata),
        )

    def _host_layers(self) -> dict[str, Dense]:
        """Dense layers that only a readout or another such layer reads."""
        found: dict[str, Dense] = {}
        for name in reversed(self.graph.order()):
            layer = self.graph.layers[name]
            readers = self.graph.targets(name)
            is_last = all(
                one in found or isinstance(self.graph.layers[one], Readout) for one in readers
            )
            if isinstance(layer, Dense) and readers and is_last:
                found[name] = layer
        return found

    def _is_population(self, name: str) -> bool:
        layer = self.graph.layers[name]
        if name in self.host:
            return False
        if isinstance(layer, (Input, Egru, *_SPIKING)):
            return True
        if not isinstance(layer, _WEIGHTS):
            return False
        readers = [self.graph.layers[one] for one in self.graph.targets(name)]
        is_synapse = all(isinstance(one, _SPIKING) for one in readers)
        return layer.activation != "none" or not is_synapse

    def _population(self, name: str) -> Population:
        layer, shape = self.graph.layers[name], self.graph.shape(name)
        if isinstance(layer, Input):
            return self._input(name, layer)
        if isinstance(layer, Egru):
            return _egru_population(name, layer)
        if isinstance(layer, If | Lif | CubaLif):
            kind, parameters, scaling = discrete(name, layer, self.dt, self.integrator)
            flags = frozenset({"reset_subtract"} if layer.reset == "subtract" else ())
            return Population(
                name, kind, shape, parameters=parameters, flags=flags, scaling=scaling
            )
        assert isinstance(layer, Dense | Conv2d)
        flags = frozenset({"relu"} if layer.activation == "relu" else ())
        bias: Any = np.zeros(shape[0]) if layer.bias is None else layer.bias.astype(np.float64)
        bias = np.repeat(bias, int(np.prod(shape[1:], dtype=np.int64)))
        return Population(name, "dense", shape, parameters={"bias": bias}, flags=flags)

    def _input(self, name: str, layer: Input) -> Population:
        if layer.content != "tokens":
            return Population(name, "input", layer.shape, content=layer.content)
        readers = self.graph.targets(name)
        embedding = self.graph.layers[readers[0]]
        if len(readers) != 1 or not isinstance(embedding, Embedding):
            raise LoweringError(f"layer {shorten(name)}: tokens must go to exactly one Embedding")
        weight = embedding.weight
        return Population(name, "input", (weight.shape[1],), content="tokens", embedding=weight)

    def _connect(self, name: str) -> None:
        layer = self.graph.layers[name]
        if isinstance(layer, Input):
            return
        population = self.populations[name]
        if isinstance(layer, Dense | Conv2d):
            for source in self.graph.sources(name):
                self._add_path(name, source, name, layer)
            return
        for source in self.graph.sources(name):
            given = self.graph.layers[source]
            if isinstance(layer, Egru):
                self._add_path(name, source, name, layer)
            elif isinstance(given, Dense | Conv2d) and source not in self.populations:
                for before in self.graph.sources(source):
                    self._add_path(name, before, source, given)
                self._add_bias(name, given)
            else:
                self._add_path(name, source, name, None)
        if isinstance(layer, Egru):
            units = population.units
            weights = _gates(layer.recurrent_kernel, (0, 1, 2))
            self.projections.append(
                Projection(name, name, name, Matrix(weights, 1), (units, 1, 1), (1, 1), True)
            )

    def _add_bias(self, name: str, layer: Dense | Conv2d) -> None:
        if layer.bias is None:
            return
        population = self.populations[name]
        bias: Any = np.repeat(layer.bias.astype(np.float64), population.units // len(layer.bias))
        key = "bias" if population.kind == "cuba_lif" else "offset"
        parameters = dict(population.parameters)
        parameters[key] = parameters[key] + bias
        self.populations[name] = replace(population, parameters=parameters)

    def _add_path(
        self, target: str, source: str, name: str, layer: Dense | Conv2d | Egru | None
    ) -> None:
        """A projection from the population behind `source`, through shapes, with the weights of
        `layer`; without a layer every unit has the weight 1."""
        pool, scale, windows = (1, 1), 1.0, None
        while isinstance(self.graph.layers[source], (*_SHAPES, Embedding)):
            given = self.graph.layers[source]
            (before, *others) = self.graph.sources(source)
            if others:
                raise LoweringError(
                    f"layer {shorten(source)}: it reads several layers; only one is supported"
                )
            if isinstance(given, SumPool):
                pool, scale = self._pool(source, given, windows), scale * given.scale
                windows = self.graph.shape(source)
            source = before
        if source not in self.populations:
            raise LoweringError(
                f"layer {shorten(target)}: reads {shorten(source)}, which has no units of its "
                f"own on the chip"
            )
        population = self.populations[source]
        shape = population.shape if len(population.shape) == 3 else (population.units, 1, 1)
        operation: Matrix | Convolution
        if isinstance(layer, Conv2d):
            weights: Any = layer.weight * np.asarray(scale, layer.weight.dtype)
            (step_y, step_x), (pad_y, pad_x) = layer.stride, layer.padding
            operation = Convolution(weights, (step_y, step_x), (pad_y, pad_x))
        elif isinstance(layer, Egru):
            operation = Matrix(_gates(layer.kernel, (2, 0, 1)), 0)
        elif layer is None:
            count = self.populations[target].units
            operation = Matrix((np.eye(count, dtype=np.float32) * np.float32(scale))[:, None])
        else:
            weights = np.ascontiguousarray(layer.weight.T)[:, None]
            operation = Matrix(weights * np.asarray(scale, weights.dtype))
        self.projections.append(
            Projection(name, source, target, operation, shape, pool, source == target)
        )

    def _pool(self, name: str, layer: SumPool, windows: tuple[int, ...] | None) -> tuple[int, int]:
        if layer.kernel != layer.stride or any(layer.padding):
            raise LoweringError(
                f"layer {shorten(name)}: SumPool with kernel {layer.kernel}, stride "
                f"{layer.stride} and "
                f"padding {layer.padding}; only stride = kernel without padding is supported"
            )
        if windows is not None:
            raise LoweringError(f"layer {shorten(name)}: two poolings in a row; make them one")
        return (layer.kernel[0], layer.kernel[1])

    def _set_levels(self) -> None:
        """The level of each population, and the refusal of what does not arrive one step later."""
        levels = {name: -1 for name, one in self.populations.items() if one.kind == "input"}
        waiting = [name for name in self.populations if name not in levels]
        forward = [one for one in self.projections if not one.is_recurrent]
        while waiting:
            ready = [
                name
                for name in waiting
                if all(one.source in levels for one in forward if one.target == name)
            ]
            if not ready:
                raise LoweringError(
                    f"layers {waiting[:4]}: feedback from a later layer is not supported; only a "
                    "layer's own recurrence is"
                )
            for name in ready:
                levels[name] = 1 + max(levels[one.source] for one in forward if one.target == name)
            waiting = [name for name in waiting if name not in levels]
        for one in forward:
            delay = levels[one.target] - levels[one.source]
            if delay != 1:
                raise LoweringError(
                    f"layer {shorten(one.target)}: its input from {shorten(one.source)} skips "
                    f"{delay - 1} "
                    "layers, which needs a delay; delays are not supported"
                )
        self.populations = {
            name: replace(one, level=max(levels[name], 0)) for name, one in self.populations.items()
        }

    def _output(self, name: str) -> Output:
        readout = self.graph.layers[name]
        assert isinstance(readout, Readout)
        layers: list[HostLayer] = []
        (source, *others) = self.graph.sources(name)
        while source in self.host or isinstance(self.graph.layers[source], Flatten):
            layer = self.graph.layers[source]
            if isinstance(layer, Dense):
                layers.insert(0, HostLayer(source, layer.weight, layer.bias, layer.activation))
            (source, *more) = self.graph.sources(source)
            others += more
        if others:
            raise LoweringError(f"layer {shorten(name)}: a Readout must read one layer")
        if source not in self.populations or self.populations[source].kind == "input":
            hint = "; decoder='chip' puts the layers behind it on the chip" if layers else ""
            raise LoweringError(
                f"layer {shorten(name)}: reads {shorten(source)}, which has no units on the chip"
                f"{hint}"
            )
        return Output(name, source, readout.steps, readout.labels, tuple(layers))


def _egru_population(name: str, layer: Egru) -> Population:
    units = len(layer.threshold)
    bias = layer.bias.astype(np.float64).reshape(3, units)
    recurrent = layer.recurrent_bias.astype(np.float64).reshape(3, units)
    joined = np.stack([bias[2], bias[0] + recurrent[0], bias[1] + recurrent[1], recurrent[2]])
    parameters = {"bias": joined.ravel(), "threshold": layer.threshold.astype(np.float64)}
    return Population(name, "egru", (units,), parameters=parameters, zoneout=layer.zoneout)


def _gates(kernel: Any, order: tuple[int, int, int]) -> Any:
    """(inputs, 3H) with the gates z, r, g -> (inputs, 3, H) in another order."""
    inputs, width = kernel.shape
    return np.ascontiguousarray(kernel.reshape(inputs, 3, width // 3)[:, list(order)])
