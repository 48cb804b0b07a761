"""Wrong arguments of event_matmul: each error names the argument."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evenfall_kernels import compress_blocks, compress_rows, event_matmul

EVENTS, WEIGHT, SCALE = torch.ones(2, 3), torch.ones(3, 4), torch.ones(3)
NAN = torch.tensor([1.0, float("nan"), 1.0])
INF = torch.tensor([1.0, float("inf"), 1.0])


@pytest.mark.parametrize(
    ("events", "weight", "options", "message"),
    [
        ([1.0], WEIGHT, {}, "events must be a Tensor, got list"),
        (None, WEIGHT, {}, "events must be a Tensor, got NoneType"),
        (
            EVENTS,
            [[1.0]],
            {},
            "weight must be a Tensor, CompressedRows or CompressedBlocks, got list",
        ),
        (EVENTS, WEIGHT, {"scale": 2.0}, "scale must be a Tensor, got float"),
        (EVENTS, WEIGHT, {"bias": 2.0}, "bias must be a Tensor, got float"),
        (EVENTS.int(), WEIGHT, {}, r"dtype of events must be one of .*, got torch\.int32"),
        (EVENTS.bool(), WEIGHT, {}, r"dtype of events must be one of .*, got torch\.bool"),
        (EVENTS, WEIGHT.int(), {}, r"dtype of weight must be one of .*, got torch\.int32"),
        (
            EVENTS,
            WEIGHT.to(torch.uint8),
            {},
            r"dtype of weight must be one of .*, got torch\.uint8",
        ),
        (EVENTS, WEIGHT.cfloat(), {}, r"dtype of weight must be one of .*, got torch\.complex64"),
        (EVENTS, WEIGHT.double(), {}, "float64 weight needs float64 events"),
        (
            EVENTS,
            WEIGHT,
            {"scale": SCALE.int()},
            r"dtype of scale must be one of .*, got torch\.int32",
        ),
        (
            EVENTS,
            WEIGHT,
            {"bias": torch.ones(4).int()},
            r"dtype of bias must be one of .*, got torch\.int32",
        ),
    ],
)
def test_types(events: Any, weight: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        event_matmul(events, weight, **options)


@pytest.mark.parametrize(
    ("events", "weight", "options", "message"),
    [
        (
            torch.tensor(1.0),
            WEIGHT,
            {},
            r"events must have shape \(\.\.\., 3\) to match .*, got \(\)",
        ),
        (torch.ones(2, 4), WEIGHT, {}, r"events must have shape .*, got \(2, 4\)"),
        (torch.ones(2, 4), compress_rows(WEIGHT), {}, r"events must have .*, got \(2, 4\)"),
        (EVENTS, torch.ones(3), {}, r"weight must have shape \(I, O\), got \(3,\)"),
        (EVENTS, torch.ones(1, 3, 4), {}, r"weight must have shape \(I, O\), got \(1, 3, 4\)"),
        (EVENTS, WEIGHT, {"scale": torch.ones(4)}, r"scale must have shape \(3,\), got \(4,\)"),
        (
            EVENTS,
            WEIGHT,
            {"scale": torch.ones(3, 1)},
            r"scale must have shape \(3,\), got \(3, 1\)",
        ),
        (EVENTS, WEIGHT, {"bias": torch.ones(3)}, r"bias must have shape \(4,\), got \(3,\)"),
        (EVENTS, WEIGHT.to("meta"), {}, "weight is on meta, but events are on cpu"),
        (EVENTS, WEIGHT, {"scale": SCALE.to("meta")}, "scale is on meta"),
        (EVENTS, WEIGHT, {"bias": torch.ones(4, device="meta")}, "bias is on meta"),
        (EVENTS, compress_rows(WEIGHT).to("meta"), {}, "weight is on meta"),
        (EVENTS, WEIGHT.to(torch.int8), {}, "int8 weight needs a scale"),
        (EVENTS, compress_rows(WEIGHT), {"scale": SCALE}, "pass scale=None"),
        (EVENTS, compress_blocks(WEIGHT, 4), {"scale": SCALE}, "pass scale=None"),
        (torch.ones(2, 4), compress_blocks(WEIGHT, 4), {}, r"events must have .*, got \(2, 4\)"),
        (EVENTS, WEIGHT, {"scale": NAN}, "scale must be finite, got NaN"),
        (EVENTS, WEIGHT.to(torch.int8), {"scale": INF}, "infinity"),
    ],
)
def test_values(events: Any, weight: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        event_matmul(events, weight, **options)
