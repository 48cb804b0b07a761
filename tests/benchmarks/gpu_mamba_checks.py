"""Triton's Mamba kernels against the float64 reference: the scan, the one-token step, the
convolution. Outputs, states and every gradient; float32 and bfloat16; freed memory is poisoned.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from gpu_checks import relative_error, tried
from torch import Tensor

from evenfall import use_backend
from evenfall.testing import compare
from evenfall.testing.memory import poisoned_memory
from evenfall_kernels import causal_conv1d, selective_scan, selective_state_update

Inputs = dict[str, Any]
ALLOWED = {torch.float32: 1e-4, torch.bfloat16: 3e-2}

# batch, channels, length, states, groups, where sequences end, options
SCANS: dict[str, tuple[Any, ...]] = {
    "one step": (3, 5, 1, 4, 1, None, {}),
    "odd": (2, 5, 63, 3, 1, None, {}),
    "two chunks, groups": (1, 4, 150, 2, 2, None, {}),
    "150 states": (1, 3, 2, 150, 1, None, {}),
    "zoh": (1, 5, 33, 2, 1, None, {"discretization": "zoh"}),
    "dirac, step": (1, 5, 33, 2, 1, None, {"discretization": "dirac", "step": True}),
    "async, step": (1, 5, 33, 2, 1, None, {"discretization": "async", "step": True}),
    "packed, step": (1, 4, 150, 2, 1, (0, 7, 7, 140, 150), {"step": True}),
    "no step": (2, 5, 0, 4, 1, None, {}),
    "no sequence": (0, 5, 4, 4, 1, None, {}),
}
LARGE_SCANS = SCANS | {
    "256 states": (2, 33, 100, 256, 1, None, {}),
    "2047 steps": (1, 11, 2047, 16, 1, None, {}),
    "1536 channels": (2, 1536, 130, 16, 1, None, {}),
}
UPDATES = [(1, 1, 1, 1), (2, 64, 5, 2), (0, 4, 4, 1), (2, 3, 256, 1)]
LARGE_UPDATES = [*UPDATES, (3, 33, 256, 1), (16, 1536, 16, 1)]
# batch, channels, length, filter width, where sequences end
CONVOLUTIONS: dict[str, tuple[Any, ...]] = {
    "one step": (3, 5, 1, 4, None),
    "odd": (2, 17, 63, 3, None),
    "packed": (1, 6, 100, 4, (0, 2, 2, 63, 100)),
    "no step": (2, 5, 0, 4, None),
}
LARGE_CONVOLUTIONS = CONVOLUTIONS | {"1536 channels": (2, 1536, 2047, 4, None)}


def _maker(seed: int, device: str, dtype: torch.dtype) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    return normal


def scan_inputs(sizes: tuple[Any, ...], device: str, dtype: torch.dtype) -> Inputs:
    batch, channels, length, states, groups, ends, options = sizes
    normal = _maker(length + channels, device, dtype)
    sequences, options = batch if ends is None else len(ends) - 1, dict(options)
    made = {
        "u": normal(batch, channels, length), "delta": normal(batch, channels, length) / 2,
        "A": -2 * normal(channels, states).abs(), "B": normal(batch, groups, states, length),
        "C": normal(batch, groups, states, length), "D": normal(channels),
        "z": normal(batch, channels, length), "delta_bias": normal(channels) - 1,
        "initial_state": normal(sequences, channels, states), "delta_softplus": True,
        "return_last_state": True,
    }  # fmt: skip
    if options.pop("step", False):
        made |= {"step": normal(batch, length).abs(), "step_scale": normal(channels).abs() + 0.3}
    if ends is not None:
        made["cu_seqlens"] = torch.tensor(ends, device=device)
    return made | options


def convolution_inputs(sizes: tuple[Any, ...], device: str, dtype: torch.dtype) -> Inputs:
    batch, channels, length, width, ends = sizes
    normal = _maker(length + channels, device, dtype)
    made = {
        "x": normal(batch, channels, length), "weight": normal(channels, width),
        "bias": normal(channels), "activation": "silu", "return_final_state": True,
        "initial_state": normal(batch if ends is None else len(ends) - 1, channels, width - 1),
    }  # fmt: skip
    return made if ends is None else made | {"cu_seqlens": torch.tensor(ends, device=device)}


def error(operation: Callable[..., Any], inputs: Inputs) -> float:
    """The worst relative error of outputs and gradients."""

    def through(backend: str, given: Inputs) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
        def call(**keywords: Any) -> Any:
            with use_backend(backend):
                return operation(**keywords)

        result = compare.run(call, given)
        return result.outputs, result.gradients

    want, want_grads = through("reference", compare.to_reference(inputs))
    with warnings.catch_warnings(), poisoned_memory():
        warnings.simplefilter("ignore")  # torch names sums that are not deterministic
        got, grads = through("triton", inputs)
    pairs = list(zip(got, want, strict=True))
    for name, wanted in want_grads.items():
        ours = grads[name]
        if wanted is not None:
            pairs.append((torch.zeros_like(wanted) if ours is None else ours, wanted))
    return relative_error(*map(list, zip(*pairs, strict=True)))


def update_error(sizes: tuple[int, ...], device: str, dtype: torch.dtype) -> float:
    """One token: output and the state changed in place, which stays float32."""
    batch, channels, states, groups = sizes
    normal = _maker(sum(sizes), device, dtype)
    given = [
        normal(batch, channels, states).float(), normal(batch, channels), normal(batch, channels),
        -normal(channels, states).abs(), normal(batch, groups, states),
        normal(batch, groups, states), normal(channels), normal(batch, channels), normal(channels),
    ]  # fmt: skip
    exact = [tensor.double() for tensor in given]
    with torch.no_grad():
        with use_backend("reference"):
            want = selective_state_update(*exact, dt_softplus=True)
        with use_backend("triton"), poisoned_memory():
            got = selective_state_update(*given, dt_softplus=True)
    return relative_error([got, given[0]], [want, exact[0]])


def _scan_error(sizes: tuple[Any, ...], device: str, dtype: torch.dtype) -> float:
    return error(selective_scan, scan_inputs(sizes, device, dtype))


def _convolution_error(sizes: tuple[Any, ...], device: str, dtype: torch.dtype) -> float:
    return error(causal_conv1d, convolution_inputs(sizes, device, dtype))


def check_mamba(device: str, large: bool) -> Iterator[dict[str, Any]]:
    """Every case of the three operations in both dtypes."""
    for dtype, allowed in ALLOWED.items():
        kind = str(dtype).removeprefix("torch.")
        for name, sizes in (LARGE_SCANS if large else SCANS).items():
            call = partial(_scan_error, sizes, device, dtype)
            yield tried(f"selective_scan {kind}: {name}", allowed, call)
        for name, sizes in (LARGE_CONVOLUTIONS if large else CONVOLUTIONS).items():
            call = partial(_convolution_error, sizes, device, dtype)
            yield tried(f"causal_conv1d {kind}: {name}", allowed, call)
        for sizes in LARGE_UPDATES if large else UPDATES:
            call = partial(update_error, sizes, device, dtype)
            yield tried(f"selective_state_update {kind}: {sizes}", allowed, call)
