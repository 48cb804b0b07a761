"""Medians of the Mamba kernels on a GPU, against mamba_ssm's CUDA scan where it is installed, else
against a loop over steps in plain PyTorch, forward and up to 2,048 steps.

`least_gb_s` counts every array of (batch, channels, length) once, as it is read or written: u,
delta, z, y forward, and with them the gradient of y and those of u, delta and z backward. B, C and
what is kept for the backward pass come on top. `of_copy` is its share of what a plain copy on the
same card moves.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import torch
from gpu_parts.timing import medians_ms
from torch import Tensor

from evenfall import use_backend
from evenfall_kernels import causal_conv1d, selective_scan, selective_state_update

SIZES = [(8, 1536, 2048, 16), (1, 4096, 32768, 16)]
TINY_SIZES = [(1, 4, 9, 2)]
LONGEST_IN_TORCH = 2048
_FORWARD_ARRAYS, _BACKWARD_ARRAYS = 4, 8
_COMPILED = (".so", ".pyd")
Rows = Iterator[dict[str, Any]]


def compiled_scan() -> Callable[..., Any] | None:
    """mamba_ssm's selective_scan_fn where its CUDA extension is there, not a stand-in for it."""
    found = importlib.util.find_spec("selective_scan_cuda")
    if found is None or not (found.origin or "").endswith(_COMPILED):
        return None
    return importlib.import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn


def copy_gb_s(device: str, rounds: int, size: int) -> float:
    """Bytes read and written a second by a copy within the card's memory."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    ms = medians_ms({"copy": lambda: target.copy_(source)}, device, rounds)["copy"]
    return 0.0 if ms is None else 2 * size / ms / 1e6


def time_mamba(device: str, large: bool, rounds: int) -> Rows:
    """The scan forward and both ways, the convolution, the step; bfloat16."""
    copied = copy_gb_s(device, rounds, 2**30 if large else 2**12)
    for size in SIZES if large else TINY_SIZES:
        p = _inputs(size, device)
        for backward in (False, True):
            yield _scan_row(size, p, backward, device, rounds, copied)
        yield _convolution_row(size, p["u"], device, rounds, copied)
        yield _update_row(size, p, device, rounds)


def _inputs(size: tuple[int, ...], device: str) -> dict[str, Tensor]:
    """A Mamba layer's: signals in bfloat16, parameters in float32."""
    batch, channels, length, states = size
    torch.manual_seed(0)
    low = {"device": device, "dtype": torch.bfloat16}
    return {
        "u": torch.randn(batch, channels, length, **low),
        "delta": torch.randn(batch, channels, length, **low),
        "A": -torch.arange(1.0, states + 1, device=device).repeat(channels, 1),
        "B": torch.randn(batch, states, length, **low),
        "C": torch.randn(batch, states, length, **low),
        "D": torch.ones(channels, device=device),
        "z": torch.randn(batch, channels, length, **low),
        "delta_bias": torch.full((channels,), -4.0, device=device),
    }


def _torch_scan(*arguments: Tensor, **options: bool) -> Tensor:
    """The loop over steps in plain PyTorch, a stand-in for a rival that is not installed."""
    with use_backend("reference"):
        return selective_scan(*arguments, **options)


def _pass(scan: Callable[..., Any], p: dict[str, Tensor], backward: bool) -> Callable[[], None]:
    leaves = [tensor.detach().requires_grad_(backward) for tensor in p.values()]
    grad = torch.ones_like(p["u"])

    def run() -> None:
        with torch.set_grad_enabled(backward):
            out = scan(*leaves, delta_softplus=True)
            if backward:
                torch.autograd.grad(out, leaves, grad)

    return run


def _scan_row(
    size: tuple[int, ...], p: dict[str, Tensor], backward: bool, device: str, rounds: int,
    copied: float,
) -> dict[str, Any]:  # fmt: skip
    functions = {"evenfall": _pass(selective_scan, p, backward)}
    if (theirs := compiled_scan()) is not None:
        functions["mamba_ssm"] = _pass(theirs, p, backward)
    elif not backward and size[2] <= LONGEST_IN_TORCH:
        functions["torch"] = _pass(_torch_scan, p, backward)
    ms = medians_ms(functions, device, rounds)
    arrays = _FORWARD_ARRAYS + backward * _BACKWARD_ARRAYS
    ours, rival = ms["evenfall"], ms.get("mamba_ssm")
    what = "forward + backward" if backward else "forward"
    row = _row("selective_scan", size, what, ours, arrays * p["u"].nbytes, copied)
    faster = None if ours is None or rival is None else rival / ours
    return row | {"mamba_ssm_ms": rival, "times_faster": faster, "torch_ms": ms.get("torch")}


def _convolution_row(
    size: tuple[int, ...], x: Tensor, device: str, rounds: int, copied: float
) -> dict[str, Any]:
    weight = torch.randn(size[1], 4, device=device, dtype=x.dtype)

    def run() -> None:
        with torch.no_grad():
            causal_conv1d(x, weight, activation="silu")

    ms = medians_ms({"evenfall": run}, device, rounds)["evenfall"]
    return _row("causal_conv1d", size, "forward", ms, 2 * x.nbytes, copied)


def _update_row(
    size: tuple[int, ...], p: dict[str, Tensor], device: str, rounds: int
) -> dict[str, Any]:
    """One token: too short for a bandwidth."""
    batch, channels, _, states = size
    state = torch.zeros(batch, channels, states, device=device)
    x, dt, B, C, z = (p[name][..., 0].contiguous() for name in ("u", "delta", "B", "C", "z"))

    def run() -> None:
        with torch.no_grad():
            selective_state_update(
                state, x, dt, p["A"], B, C, p["D"], z, p["delta_bias"], dt_softplus=True
            )

    ms = medians_ms({"evenfall": run}, device, rounds)["evenfall"]
    return _row("selective_state_update", size, "one token", ms, None, 0.0)


def _row(
    operation: str, size: tuple[int, ...], what: str, ms: float | None, moved: int | None,
    copied: float,
) -> dict[str, Any]:  # fmt: skip
    rate = None if ms is None or moved is None else moved / ms / 1e6
    names = ("batch", "channels", "length", "states")
    return {
        "part": "mamba", "operation": operation, **dict(zip(names, size, strict=True)),
        "pass": what, "evenfall_ms": ms, "least_gb_s": rate, "copy_gb_s": copied or None,
        "of_copy": rate / copied if rate and copied else None,
    }  # fmt: skip
