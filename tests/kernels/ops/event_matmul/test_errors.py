"""Wrong arguments of event_matmul: each error names the argument."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evenfall_kernels import compress_rows, event_matmul

EVENTS, WEIGHT, SCALE = torch.ones(2, 3), torch.ones(3, 4), torch.ones(3)
NAN = torch.tensor([1.0, float("nan"), 1.0])
INF = torch.tensor([1.0, float("inf"), 1.0])


@pytest.mark.parametrize(
    ("events", "weight", "options", "message"),
    [
        ([1.0], WEIGHT, {}, "events is list"),
        (None, WEIGHT, {}, "events is NoneType"),
        (EVENTS, [[1.0]], {}, "weight is list"),
        (EVENTS, WEIGHT, {"scale": 2.0}, "scale is float"),
        (EVENTS, WEIGHT, {"bias": 2.0}, "bias is float"),
        (EVENTS.int(), WEIGHT, {}, "events is torch.int32"),
        (EVENTS.bool(), WEIGHT, {}, "events is torch.bool"),
        (EVENTS, WEIGHT.int(), {}, "weight is torch.int32"),
        (EVENTS, WEIGHT.to(torch.uint8), {}, "weight is torch.uint8"),
        (EVENTS, WEIGHT.cfloat(), {}, "weight is torch.complex64"),
        (EVENTS, WEIGHT.double(), {}, "float64 weight needs float64 events"),
        (EVENTS, WEIGHT, {"scale": SCALE.int()}, "scale is torch.int32"),
        (EVENTS, WEIGHT, {"bias": torch.ones(4).int()}, "bias is torch.int32"),
    ],
)
def test_types(events: Any, weight: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        event_matmul(events, weight, **options)


@pytest.mark.parametrize(
    ("events", "weight", "options", "message"),
    [
        (torch.tensor(1.0), WEIGHT, {}, r"events have shape \(\), want \(\.\.\., 3\)"),
        (torch.ones(2, 4), WEIGHT, {}, r"events have shape \(2, 4\)"),
        (torch.ones(2, 4), compress_rows(WEIGHT), {}, r"events have shape \(2, 4\)"),
        (EVENTS, torch.ones(3), {}, r"weight has shape \(3,\), want \(I, O\)"),
        (EVENTS, torch.ones(1, 3, 4), {}, r"weight has shape \(1, 3, 4\)"),
        (EVENTS, WEIGHT, {"scale": torch.ones(4)}, r"scale has shape \(4,\), want \(3,\)"),
        (EVENTS, WEIGHT, {"scale": torch.ones(3, 1)}, r"scale has shape \(3, 1\)"),
        (EVENTS, WEIGHT, {"bias": torch.ones(3)}, r"bias has shape \(3,\), want \(4,\)"),
        (EVENTS, WEIGHT.to("meta"), {}, "weight is on meta, but events are on cpu"),
        (EVENTS, WEIGHT, {"scale": SCALE.to("meta")}, "scale is on meta"),
        (EVENTS, WEIGHT, {"bias": torch.ones(4, device="meta")}, "bias is on meta"),
        (EVENTS, compress_rows(WEIGHT).to("meta"), {}, "weight is on meta"),
        (EVENTS, WEIGHT.to(torch.int8), {}, "int8 weight needs a scale"),
        (EVENTS, compress_rows(WEIGHT), {"scale": SCALE}, "pass scale=None"),
        (EVENTS, WEIGHT, {"scale": NAN}, "scale contains NaN"),
        (EVENTS, WEIGHT.to(torch.int8), {"scale": INF}, "infinity"),
    ],
)
def test_values(events: Any, weight: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        event_matmul(events, weight, **options)
