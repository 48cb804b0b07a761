"""Small graphs and a slow emulator for the tests: what an image says, in plain numpy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

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
from evenfall_spinnaker2.image import Blob, Image


def chain(*layers: tuple[str, Any], **metadata: Any) -> Graph:
    """A graph in which each layer reads the one before."""
    names = [name for name, _ in layers]
    return Graph(dict(layers), tuple(pairwise(names)), metadata)


def language_model(
    vocabulary: int = 31, inputs: int = 8, units: tuple[int, ...] = (24, 8), density: float = 1.0,
    seed: int = 0,
) -> Graph:  # fmt: skip
    """Tokens, an embedding, EGRU layers and a decoder."""
    rng = np.random.default_rng(seed)

    def matrix(*shape: int) -> Any:
        values = rng.standard_normal(shape).astype(np.float32) / np.sqrt(shape[0] * density)
        return values * (rng.random(shape) < density)

    layers: list[tuple[str, Any]] = [
        ("tokens", Input((vocabulary,), "tokens")),
        ("embed", Embedding(rng.standard_normal((vocabulary, inputs)).astype(np.float32))),
    ]
    size = inputs
    for number, count in enumerate(units):
        layers.append(
            (
                f"layer{number}",
                Egru(
                    matrix(size, 3 * count), matrix(count, 3 * count),
                    0.1 * matrix(3 * count, 1)[:, 0], 0.1 * matrix(3 * count, 1)[:, 0],
                    np.full(count, 0.02, np.float32), zoneout=0.1,
                ),
            )
        )  # fmt: skip
        size = count
    layers += [
        ("head", Dense(matrix(vocabulary, size), matrix(vocabulary, 1)[:, 0])),
        ("logits", Readout()),
    ]
    return chain(*layers)


def spiking(seed: int = 0) -> Graph:
    """Convolution, IF, pooling, dense, a recurrent CubaLIF, LIF."""
    rng = np.random.default_rng(seed)

    def full(value: float, *shape: int) -> Any:
        return np.full(shape, value)

    def weights(*shape: int) -> Any:
        return rng.standard_normal(shape)

    layers = {
        "input": Input((2, 8, 8), "events"),
        "conv": Conv2d(weights(4, 2, 3, 3), weights(4) / 9, (2, 2), (1, 1)),
        "if": If(full(1, 4, 4, 4), full(1, 4, 4, 4), full(0, 4, 4, 4), "subtract"),
        "pool": SumPool((2, 2), (2, 2)),
        "flat": Flatten(),
        "fc": Dense(weights(6, 16), weights(6) / 9),
        "cuba": CubaLif(
            full(2e-3, 6), full(4e-3, 6), full(2, 6), full(0.1, 6), full(0.3, 6), full(0.05, 6),
            full(1.5, 6),
        ),
        "rec": Dense(weights(6, 6) / 3),
        "fc2": Dense(weights(3, 6)),
        "lif": Lif(full(5e-3, 3), full(1, 3), full(0, 3), full(0.1, 3), full(0, 3)),
        "out": Readout("sum"),
    }  # fmt: skip
    edges = (
        ("input", "conv"), ("conv", "if"), ("if", "pool"), ("pool", "flat"), ("flat", "fc"),
        ("fc", "cuba"), ("cuba", "rec"), ("rec", "cuba"), ("cuba", "fc2"), ("fc2", "lif"),
        ("lif", "out"),
    )  # fmt: skip
    return Graph(layers, edges)


def values(seed: int = 0) -> Graph:
    """Convolution, average pooling and dense layers."""
    rng = np.random.default_rng(seed)
    return chain(
        ("input", Input((1, 8, 8))),
        (
            "conv",
            Conv2d(
                rng.standard_normal((3, 1, 3, 3)), rng.standard_normal(3), padding=(1, 1),
                activation="relu",
            ),
        ),
        ("pool", SumPool((2, 2), (2, 2), scale=0.25)),
        ("flat", Flatten()),
        ("fc1", Dense(rng.standard_normal((12, 48)), rng.standard_normal(12), "relu")),
        ("fc2", Dense(rng.standard_normal((5, 12)), rng.standard_normal(5))),
        ("out", Readout()),
    )  # fmt: skip


class Machine:
    """Runs an image in float64 by the words of docs/spinnaker2-image.md: slowly, one packet after
    the other, through the routing tables."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.rows = image.manifest["pes"]
        self.queues: list[list[tuple[int, float]]] = [[] for _ in self.rows]
        self.state = [
            {name: np.zeros(blob.units) for name in ("h", "i", "v")} for blob in image.blobs
        ]
        self.where = {(tuple(r["chip"]), r["pe"]): n for n, r in enumerate(self.rows)}
        self.host: list[tuple[int, float]] = []
        self.links = 0
        self.ticks = 0

    def send(self, key: int, payload: float, chip: tuple[int, int]) -> None:
        """Follow the tables."""
        table = self.image.tables.get(chip)
        assert table is not None, f"a packet at {chip}, which has no table"
        links, pes, to_host = table.route(key)
        assert links or pes or to_host, f"packet {key} is lost at {chip}"
        for pe in pes:
            self.queues[self.where[chip, pe]].append((key, payload))
        if to_host:
            self.host.append((key, payload))
        steps = ((1, 0), (1, 1), (0, 1), (-1, 0), (-1, -1), (0, -1))
        for link in links:
            self.links += 1
            self.send(key, payload, (chip[0] + steps[link][0], chip[1] + steps[link][1]))

    def tick(self, events: list[tuple[int, float]]) -> list[tuple[int, float]]:
        """Input events -> events that reach the host."""
        for key, payload in events:
            self.send(key, payload, tuple(self.image.manifest["chips"][0]))
        self.host = []
        out = []
        for number, blob in enumerate(self.image.blobs):
            events, self.queues[number] = sorted(self.queues[number]), []
            active = self.ticks >= blob.level
            out.append(self.step(blob, self.state[number], events) if active else np.zeros(0))
        self.ticks += 1
        for number, sent in enumerate(out):
            for unit in np.flatnonzero(sent):
                key = self.image.blobs[number].first_key + int(unit)
                self.send(key, sent[unit], tuple(self.rows[number]["chip"]))
        return self.host

    def step(self, blob: Blob, state: dict, events: list[tuple[int, float]]) -> Any:
        n = blob.units
        sums = np.zeros(blob.accumulators * n)
        for key, payload in events:
            for one in blob.ranges:
                if one.first_key <= key < one.first_key + one.count:
                    unit = one.first_unit + key - one.first_key
                    add(blob, blob.projections[one.projection], unit, payload, sums)
        p = {name: values.astype(np.float64) for name, values in blob.parameters.items()}
        if blob.arithmetic == "int8":
            assert np.abs(sums).max() < 2**31
            y = (sums + p["bias"]) * p["multiplier"]
            if "quantise" in blob.flags:
                low = 0 if "relu" in blob.flags else -127
                return np.clip(np.rint(y.astype(np.float32)), low, 127)
            return np.maximum(y, 0) if "relu" in blob.flags else y
        s = sums * p.get("scale", 1.0)
        if blob.kind == "dense":
            y = s + p["bias"]
            return np.maximum(y, 0) if "relu" in blob.flags else y
        if blob.kind == "egru":
            g, z, r, rg = (s + p["bias"]).reshape(4, n)
            z, r = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(-r))
            c = z * state["h"] + (1 - z) * np.tanh(g + r * rg)
            c = blob.zoneout * state["h"] + (1 - blob.zoneout) * c
            fired = c > p["threshold"]
            state["h"] = c - fired * p["threshold"]
            return fired * c
        v = state["v"]
        if blob.kind == "if":
            v = v + p["offset"] + s
        elif blob.kind == "lif":
            v = p["alpha"] * v + p["offset"] + s
        else:
            state["i"] = p["beta"] * state["i"] + s + p["bias"]
            v = p["alpha"] * v + p["offset"] + p["gain"] * state["i"]
        fired = v >= p["threshold"]
        reset = v - p["threshold"] if "reset_subtract" in blob.flags else p["reset"]
        state["v"] = np.where(fired, reset, v)
        return fired.astype(float)


def add(blob: Blob, one: Any, unit: int, payload: float, sums: Any) -> None:
    """Add one event."""
    _, height, width = one.source_shape
    c, rest = divmod(unit, height * width)
    y, x = rest // width // one.pool[0], rest % width // one.pool[1]
    rows, columns = height // one.pool[0], width // one.pool[1]
    if y >= rows or x >= columns:
        return
    line = (c * rows + y) * columns + x
    weights = one.weights
    if one.weight_format == "bf16":
        weights = (weights.astype(np.uint32) << 16).view(np.float32)
    weights = weights.astype(np.float64)
    if one.kind == "conv":
        for ky in range(weights.shape[1]):
            for kx in range(weights.shape[2]):
                oy, ry = divmod(y + one.padding[0] - ky, one.stride[0])
                ox, rx = divmod(x + one.padding[1] - kx, one.stride[1])
                oy -= one.first_row
                if ry or rx or not (0 <= oy < one.out_rows and 0 <= ox < one.out_size[1]):
                    continue
                for o in range(one.channels):
                    place = (o * one.out_rows + oy) * one.out_size[1] + ox
                    sums[place] += weights[c, ky, kx, o] * payload
    elif one.kind == "dense":
        column = weights[line] if blob.mode == "events" else weights[:, line]
        sums[one.first_accumulator : one.first_accumulator + one.rows] += column * payload
    elif blob.mode == "events":
        for at in range(one.pointers[line], one.pointers[line + 1]):
            sums[one.first_accumulator + one.indices[at]] += weights[at] * payload
    else:
        for row in range(one.rows):
            for at in range(one.pointers[row], one.pointers[row + 1]):
                if one.indices[at] == line:
                    sums[one.first_accumulator + row] += weights[at] * payload


def run(image: Image, steps: Any) -> Any:
    """The outputs of the first output population, (T, units): inputs (T, units of the input)."""
    manifest = image.manifest
    machine = Machine(image)
    out = manifest["populations"][manifest["host"]["outputs"][0]["population"]]
    base = manifest["populations"][manifest["host"]["inputs"][0]["population"]]["keys"][0][0]
    found = np.zeros((len(steps), out["units"]))
    for tick in range(len(steps) + out["level"]):
        x = steps[tick] if tick < len(steps) else np.zeros(len(steps[0]))
        sent = machine.tick([(base + int(i), float(x[i])) for i in np.flatnonzero(x)])
        if tick >= out["level"]:
            for key, payload in sent:
                found[tick - out["level"], key - out["keys"][0][0]] = payload
    return found
