"""A blob is the same after it was packed and unpacked, and its bytes are those of the page."""

from __future__ import annotations

import struct
from dataclasses import fields, replace

import numpy as np
import pytest

from evenfall_spinnaker2.image import Blob, Projection, SourceRange, pack, unpack
from evenfall_spinnaker2.image.codes import parameter_layout

RNG = np.random.default_rng(0)


def parameters(kind: str, n: int, arithmetic: str = "float32", scale: bool = False) -> dict:
    layout = parameter_layout(kind, arithmetic, scale)
    return {
        name: RNG.integers(0, 9, size * n).astype(dtype) for name, (dtype, size) in layout.items()
    }


def egru(mode: str) -> Blob:
    n = 3
    shape = (4, 3 * n) if mode == "events" else (3 * n, 4)
    lines = 5 if mode == "events" else 3 * n
    pointers = np.sort(RNG.integers(0, 7, lines + 1)).astype("<u2")
    pointers[0], pointers[-1] = 0, 7
    sparse = Projection(
        "sparse", "bf16", (5, 1, 1), 3 * n, RNG.integers(0, 9, 7).astype("<u2"), n,
        RNG.integers(0, 5, 7).astype("u1"), pointers, vector_start=4,
    )  # fmt: skip
    dense = Projection("dense", "fp32", (4, 1, 1), 3 * n, RNG.random(shape).astype("<f4"))
    if mode == "events":
        sparse = replace(sparse, vector_start=0)
    ranges = (SourceRange(0, 4, 0, 0), SourceRange(8, 5, 1, 0))
    return Blob(
        "egru", mode, "float32", n, 0x40, (dense, sparse), ranges, parameters("egru", n), 9,
        zoneout=0.25, recorded_steps=3,
    )  # fmt: skip


def conv(arithmetic: str = "int8") -> Blob:
    weights = RNG.integers(-9, 9, (2, 3, 3, 2)).astype("i1")
    part = Projection(
        "conv", "int8", (2, 8, 8), 32, weights, pool=(2, 2), stride=(1, 1), padding=(1, 1),
        out_size=(4, 4), first_channel=2, channels=2, first_row=0, out_rows=4, segments=(64,),
    )  # fmt: skip
    if arithmetic == "int8":
        return Blob(
            "dense", "events", "int8", 32, 0, (part,), (SourceRange(512, 128, 0, 0),),
            parameters("dense", 32, "int8"), 128, frozenset({"relu", "quantise"}),
        )  # fmt: skip
    flags = frozenset({"scale", "reset_subtract"})
    part = replace(part, segments=())
    return Blob(
        "cuba_lif", "events", "float32", 32, 0, (part,), (SourceRange(512, 128, 0, 0),),
        parameters("cuba_lif", 32, scale=True), 128, flags,
    )  # fmt: skip


BLOBS = [egru("events"), egru("gather"), conv(), conv("float32")]


def equal(one: object, other: object) -> bool:
    if hasattr(one, "dtype"):
        return one.dtype == other.dtype and bool(np.array_equal(one, other))
    if hasattr(one, "__dataclass_fields__"):
        return all(equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, tuple) and one and hasattr(one[0], "__dataclass_fields__"):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


@pytest.mark.parametrize("blob", BLOBS, ids=lambda b: f"{b.kind} {b.mode}")
def test_unpacked_blob_is_the_same(blob: Blob) -> None:
    again = unpack(pack(blob))
    assert equal(blob, again)
    assert pack(again) == pack(blob)


def test_header_has_the_places_of_the_page() -> None:
    blob = egru("events")
    data = pack(blob)
    assert data[:4] == b"EVS2"
    assert struct.unpack_from("<HHI", data, 4) == (1, 0, len(data))
    assert struct.unpack_from("<HHHH", data, 16) == (1, 1, 1, 0)
    assert struct.unpack_from("<IIIII", data, 24) == (3, 0x40, 4, 2, 2)
    assert struct.unpack_from("<I", data, 56) == (9,)
    assert struct.unpack_from("<f", data, 68) == (0.25,)
    at_projections, at_ranges, at_parameters = struct.unpack_from("<III", data, 44)
    assert (at_projections, at_ranges) == (128, 128 + 2 * 96)
    assert struct.unpack_from("<IIII", data, at_ranges + 16) == (8, 5, 1, 0)
    bias = np.frombuffer(data, "<f4", 12, at_parameters)
    assert np.array_equal(bias, blob.parameters["bias"])
    (at_weights,) = struct.unpack_from("<I", data, at_projections + 76)
    weights = np.frombuffer(data, "<f4", 36, at_weights).reshape(4, 9)
    assert np.array_equal(weights, blob.projections[0].weights)
    state, accumulators, *_, end = struct.unpack_from("<7I", data, 72)
    assert (state, accumulators - state) == (len(data), 12)
    assert end == len(data) + sum(blob.memory().values())


@pytest.mark.parametrize("blob", BLOBS, ids=lambda b: f"{b.kind} {b.mode}")
def test_damaged_blob_is_refused(blob: Blob) -> None:
    data = pack(blob)
    for keep in (0, 4, 127, 128, len(data) // 2, len(data) - 1):
        with pytest.raises(ValueError, match=r"^blob: "):
            unpack(data[:keep])
    for _ in range(40):
        changed = bytearray(data)
        changed[RNG.integers(len(data))] ^= 1 << RNG.integers(8)
        with pytest.raises(ValueError, match=r"^blob: "):
            unpack(bytes(changed))


def test_newer_version_is_named() -> None:
    data = bytearray(pack(BLOBS[0]))
    data[4] = 2
    with pytest.raises(ValueError, match="format version 2; this release reads 1"):
        unpack(bytes(data))
