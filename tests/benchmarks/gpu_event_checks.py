"""Triton's event_matmul against float64: every storage, odd and empty shapes, gradients, NaN."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from gpu_checks import relative_error, tried
from torch import Tensor

from evenfall import use_backend
from evenfall_kernels import CompressedRows, compress_rows, event_matmul, quantize_rows

VALUES = (torch.float32, torch.bfloat16, torch.float16, torch.int8)
COLUMNS = (torch.uint16, torch.int32)
SMALL = [(1, 1, 1), (3, 63, 100), (2, 100, 63), (0, 5, 3), (2, 0, 3), (2, 5, 0)]
LARGE = [*SMALL, (17, 5, 3), (3, 2047, 100), (1, 1350, 4050), (64, 1350, 4050)]
FP32_ALLOWED, BF16_ALLOWED = 1e-5, 1e-2  # bfloat16 events: the result is rounded to bfloat16


def make_events(shape: tuple[int, int, int], device: str, dtype: torch.dtype) -> Tensor:
    """(N, I), three in ten nonzero."""
    generator = torch.Generator().manual_seed(sum(shape))
    drawn = torch.randn(shape[:2], generator=generator)
    fired = torch.rand(shape[:2], generator=generator) < 0.3
    return (drawn * fired).to(device, dtype)


def make_weight(shape: tuple[int, int, int], device: str) -> Tensor:
    generator = torch.Generator().manual_seed(1 + sum(shape))
    return torch.randn(shape[1:], generator=generator).to(device)


def dense_error(
    shape: tuple[int, int, int], device: str, dtype: torch.dtype, stored: torch.dtype
) -> float:
    """Weights of units that are silent throughout are NaN, so that reading one shows."""
    events, weight = make_events(shape, device, dtype), make_weight(shape, device)
    scale = None
    if stored == torch.int8:
        weight, scale = quantize_rows(weight)
        exact = weight.double() * scale.double()[:, None]
    else:
        weight = weight.to(stored, copy=True)
        exact = weight.double()
        weight[(events == 0).all(0)] = float("nan")
    with use_backend("triton"):
        out = event_matmul(events, weight, scale=scale)
    return relative_error([out], [events.double() @ exact])


def rows_error(
    shape: tuple[int, int, int],
    device: str,
    dtype: torch.dtype,
    stored: torch.dtype,
    columns: torch.dtype,
) -> float:
    events, weight = make_events(shape, device, dtype), make_weight(shape, device)
    pruned = weight * (weight.abs() > 1)
    rows: CompressedRows = compress_rows(pruned, dtype=stored, index_dtype=columns)
    with use_backend("triton"):
        out = event_matmul(events, rows)
    return relative_error([out], [events.double() @ rows.dense().double()])


def gradient_error(device: str) -> float:
    """Gradients of events, weight, scale and bias of a (3, 63) x (63, 100) product."""
    shape = (3, 63, 100)
    values = make_events(shape, device, torch.float32), make_weight(shape, device)
    values += torch.rand(63, device=device) + 0.5, torch.randn(100, device=device)
    found = []
    for backend, dtype in (("triton", torch.float32), ("reference", torch.float64)):
        events, weight, scale, bias = (v.to(dtype).requires_grad_() for v in values)
        with use_backend(backend):
            out = event_matmul(events, weight, scale=scale, bias=bias)
        grads = torch.autograd.grad(out.square().sum(), [events, weight, scale, bias])
        found.append([out.detach(), *grads])
    return relative_error(*found)


def nan_error(device: str) -> float:
    """A NaN among the events reaches its own row of the output and no other."""
    events = torch.tensor([[float("nan"), 0.0], [0.0, 1.0]], device=device)
    with use_backend("triton"):
        out = event_matmul(events, torch.ones(2, 3, device=device))
    wanted = torch.tensor([[True] * 3, [False] * 3], device=device)
    return float((out.isnan() != wanted).sum())


def check_events(device: str, large: bool) -> Iterator[dict[str, Any]]:
    """Every storage and shape, with float32 and bfloat16 events."""
    for shape in LARGE if large else SMALL:
        for dtype, allowed in ((torch.float32, FP32_ALLOWED), (torch.bfloat16, BF16_ALLOWED)):
            for stored in VALUES:
                case = (shape, device, dtype, stored)
                name = f"{_name(stored)} rows, {_name(dtype)} events, {shape}"
                yield tried(f"event_matmul {name}", allowed, partial(dense_error, *case))
                for columns in COLUMNS:
                    call = partial(rows_error, *case, columns)
                    yield tried(f"event_matmul compressed ({_name(columns)}) {name}", allowed, call)
    yield tried("event_matmul gradients", 1e-5, partial(gradient_error, device))
    yield tried("event_matmul NaN", 0.0, partial(nan_error, device))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
