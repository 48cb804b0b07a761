"""Random blobs of every kind of unit, projection, mode and weight format, and random events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from evenfall_spinnaker2.image import Blob, Projection, SourceRange

ADDRESS = 0x8000
FORMATS = ("fp32", "bf16", "int8")


def stored(random: np.random.Generator, shape: Any, weight_format: str, scale: float) -> np.ndarray:
    """Random weights as they are stored."""
    if weight_format == "int8":
        return random.integers(-127, 128, shape).astype(np.int8)
    weights = random.normal(0, scale, shape).astype(np.float32)
    if weight_format == "bf16":
        return (weights.view(np.uint32) >> np.uint32(16)).astype("<u2")
    return weights


def matrix(
    random: np.random.Generator, mode: str, kind: str, weight_format: str, sources: int, rows: int,
    *, scale: float = 0.2, index: str = "<u2", pointer: str = "<u2", **more: Any,
) -> Projection:  # fmt: skip
    """A random dense or sparse matrix; a third of the entries of a sparse one are stored."""
    lines, others = (sources, rows) if mode == "events" else (rows, sources)
    shape = (sources, 1, 1)
    if kind == "dense":
        weights = stored(random, (lines, others), weight_format, scale)
        return Projection("dense", weight_format, shape, rows, weights, **more)
    mask = random.random((lines, others)) < 1 / 3
    pointers = np.concatenate([[0], mask.sum(1).cumsum()]).astype(pointer)
    indices = np.nonzero(mask)[1].astype(index)
    weights = stored(random, len(indices), weight_format, scale)
    return Projection("sparse", weight_format, shape, rows, weights, indices=indices,
                      pointers=pointers, **more)  # fmt: skip


def egru(seed: int, mode: str, kind: str, weight_format: str, zoneout: float = 0.0) -> Blob:
    """Twelve of twenty units of an EGRU layer with seventeen inputs."""
    random, n, inputs, units = np.random.default_rng(seed), 12, 17, 20
    scaled = weight_format == "int8"
    index = "u1" if kind == "sparse" and seed % 2 else "<u2"
    gather = mode == "gather"
    more = {"index": index, "pointer": "<u4" if seed % 2 else "<u2"}
    parts = (
        matrix(random, mode, kind, weight_format, inputs, 3 * n, **more),
        matrix(random, mode, kind, weight_format, units, 3 * n, first_accumulator=n,
               vector_start=inputs if gather else 0, **more),
    )  # fmt: skip
    # The keys of the units lie around those of the inputs, so ranges of both alternate.
    ranges = (
        SourceRange(0x100, 8, 1, 0), SourceRange(0x200, inputs, 0, 0), SourceRange(0x300, 12, 1, 8),
    )  # fmt: skip
    parameters = {
        "bias": random.normal(0, 0.3, 4 * n).astype(np.float32),
        "threshold": random.uniform(0, 0.2, n).astype(np.float32),
    }
    if scaled:
        parameters = {"scale": random.uniform(1e-3, 5e-3, 4 * n).astype(np.float32), **parameters}
    flags = frozenset({"scale"} if scaled else ())
    return Blob("egru", mode, "float32", n, 0x308, parts, ranges, parameters, 40, flags, zoneout,
                load_address=ADDRESS)  # fmt: skip


def dense(seed: int, mode: str, weight_format: str, relu: bool) -> Blob:
    """Nine units with two sources."""
    random, n = np.random.default_rng(seed), 9
    second = 14 if mode == "gather" else 0
    parts = (
        matrix(random, mode, "dense", weight_format, 14, n),
        matrix(random, mode, "sparse", weight_format, 25, n, vector_start=second),
    )
    ranges = (SourceRange(64, 14, 0, 0), SourceRange(128, 25, 1, 0))
    parameters = {"bias": random.normal(0, 0.3, n).astype(np.float32)}
    flags = {"relu"} if relu else set()
    if weight_format == "int8":
        parameters = {"scale": random.uniform(1e-3, 5e-3, n).astype(np.float32), **parameters}
        flags.add("scale")
    return Blob("dense", mode, "float32", n, 512, parts, ranges, parameters, 40,
                frozenset(flags), load_address=ADDRESS)  # fmt: skip


def spiking(seed: int, kind: str, subtract: bool, conv: bool) -> Blob:
    """IF, LIF or CubaLIF neurons behind a matrix or a convolution of a pooled source."""
    random = np.random.default_rng(seed)
    part = (
        convolution(random, "fp32") if conv else matrix(random, "events", "dense", "fp32", 20, 24)
    )
    n = part.rows
    names = {"if": (), "lif": ("alpha",), "cuba_lif": ("bias", "beta", "alpha", "gain")}[kind]
    parameters = {name: random.uniform(0.5, 0.99, n).astype(np.float32) for name in names}
    if kind == "cuba_lif":
        parameters["bias"] = random.normal(0, 0.02, n).astype(np.float32)
    parameters["offset"] = random.normal(0.02, 0.02, n).astype(np.float32)
    parameters["threshold"] = random.uniform(0.3, 1, n).astype(np.float32)
    parameters["reset"] = random.uniform(-0.1, 0.1, n).astype(np.float32)
    flags = frozenset({"reset_subtract"} if subtract else ())
    ranges = (SourceRange(1000, part.source_units, 0, 0),)
    return Blob(kind, "events", "float32", n, 0, (part,), ranges, parameters, part.source_units,
                flags, load_address=ADDRESS)  # fmt: skip


def convolution(random: np.random.Generator, weight_format: str) -> Projection:
    """Rows 1 to 3 of channel 2 .. 4 of a strided convolution behind 2 x 2 pooling of 3 x 9 x 8."""
    weights = stored(random, (3, 3, 2, 2), weight_format, 0.3)
    return Projection(
        "conv", weight_format, (3, 9, 8), 2 * 2 * 3, weights, pool=(2, 2), stride=(1, 2),
        padding=(1, 1), out_size=(4, 3), first_channel=2, channels=2, first_row=1, out_rows=2,
    )  # fmt: skip


def int8(seed: int, conv: bool, quantise: bool, relu: bool, segments: tuple[int, ...]) -> Blob:
    """Dense units in int8 arithmetic."""
    random = np.random.default_rng(seed)
    if conv:
        part = convolution(random, "int8")
    else:
        part = matrix(random, "events", "dense", "int8", 900, 7, segments=segments)
    n = part.rows
    parameters = {
        "bias": random.integers(-5000, 5000, n).astype(np.int32),
        "multiplier": random.uniform(1e-4, 2e-3, n).astype(np.float32),
    }
    flags = {name for name, on in (("quantise", quantise), ("relu", relu)) if on}
    ranges = (SourceRange(4096, part.source_units, 0, 0),)
    return Blob("dense", "events", "int8", n, 1, (part,), ranges, parameters, 1000,
                frozenset(flags), load_address=ADDRESS)  # fmt: skip


def cases() -> Iterator[tuple[str, Blob]]:
    """Name and blob of every case."""
    for mode in ("events", "gather"):
        for number, weight_format in enumerate(FORMATS):
            for kind in ("dense", "sparse"):
                name = f"egru-{mode}-{kind}-{weight_format}"
                yield name, egru(number, mode, kind, weight_format, 0.1 if number == 1 else 0.0)
            yield f"dense-{mode}-{weight_format}", dense(number, mode, weight_format, number != 1)
    for number, kind in enumerate(("if", "lif", "cuba_lif")):
        for conv in (False, True):
            name = f"{kind}-{'conv' if conv else 'matrix'}"
            yield name, spiking(number, kind, conv != bool(number % 2), conv)
    yield "int8-quantised", int8(0, False, True, True, ())
    yield "int8-segments", int8(1, False, False, False, (100, 101, 500))
    yield "int8-conv", int8(2, True, True, False, ())
    # Without a queue, events are used on arrival.
    yield "egru-gather-on-arrival", replace(egru(3, "gather", "sparse", "fp32"), queue_depth=0)
    yield "int8-on-arrival", replace(int8(3, False, True, True, ()), queue_depth=0)
    yield "int8-conv-on-arrival", replace(int8(4, True, True, False, ()), queue_depth=0)


def random_ticks(blob: Blob, ticks: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Keys and payloads of each tick, in random order; some keys belong to nobody."""
    random = np.random.default_rng(seed)
    keys = np.concatenate([one.first_key + np.arange(one.count) for one in blob.ranges])
    keys = np.concatenate([keys, [keys[0] - 1, keys[-1] + 1]])
    out = []
    for tick in range(ticks):
        share = 0.0 if tick % 50 == 49 else random.uniform(0, 0.7)
        limit = min(len(keys), blob.queue_depth or len(keys))
        chosen = random.permutation(keys)[: int(share * limit)]
        if blob.arithmetic == "int8":
            payloads = random.integers(1, 128, len(chosen)) * random.choice([-1, 1], len(chosen))
            payloads = np.abs(payloads) if tick % 3 == 0 else payloads
        elif blob.kind in ("if", "lif", "cuba_lif"):
            payloads = np.ones(len(chosen), np.float32)
        else:
            payloads = random.normal(0, 1, len(chosen)).astype(np.float32)
        out.append((chosen.astype(np.uint32), payloads))
    return out
