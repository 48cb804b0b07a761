"""egru_scan on a GPU against cuDNN's recurrent layers and its own dense products.

`least_gb_s` counts what the loop over steps moves when every array is read and written once: the
recurrent matrix at each step, and per row and unit 18 numbers forward and 21 backward (the
pointwise kernel's 14 and 17, and what the product reads and writes). The true traffic is larger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from gpu_parts.timing import Functions, medians_ms, ratio
from torch import Tensor

from evenfall_kernels import egru_scan

SIZES = [(64, 70, 750, 1350), (128, 70, 1350, 1350), (1, 70, 256, 512)]
TINY_SIZES = [(2, 3, 4, 5)]
_FORWARD_NUMBERS, _BACKWARD_NUMBERS = 18, 21


def time_scans(device: str, large: bool, rounds: int) -> Iterator[dict[str, Any]]:
    """A row for each size, dtype and pass."""
    for size in SIZES if large else TINY_SIZES:
        for dtype in (torch.float32, torch.bfloat16):
            for backward in (False, True):
                functions = scan_contenders(*size, dtype, device, backward)
                yield _scan_row(size, dtype, backward, medians_ms(functions, device, rounds))


def scan_contenders(
    batch: int, steps: int, inputs: int, units: int, dtype: torch.dtype, device: str,
    backward: bool,
) -> Functions:  # fmt: skip
    """Forward, or forward and backward with gradients of the input and of every weight."""
    torch.manual_seed(0)
    x = torch.randn(batch, steps, inputs, device=device, dtype=dtype)
    kernel, recurrent = torch.empty(inputs, 3 * units), torch.empty(units, 3 * units)
    torch.nn.init.xavier_normal_(kernel)
    torch.nn.init.xavier_normal_(recurrent)
    made = kernel, recurrent, torch.zeros(3 * units), torch.zeros(3 * units)
    weights = [w.to(device, dtype) for w in (*made, torch.full((units,), 0.01))]
    layers = {
        "nn.GRU": torch.nn.GRU(inputs, units, batch_first=True, device=device, dtype=dtype),
        "nn.LSTM": torch.nn.LSTM(inputs, units, batch_first=True, device=device, dtype=dtype),
    }
    found: Functions = {
        "egru_scan": _passes(lambda x, *w: egru_scan(x, *w).y, [x, *weights], backward),
        "products": _products(x, weights[0], weights[1], backward),
    }
    for name, layer in layers.items():
        found[name] = _layer_passes(layer, x, backward)
    return found


def _passes(call: Callable[..., Tensor], leaves: list[Tensor], backward: bool) -> Any:
    leaves = [leaf.detach().requires_grad_(backward) for leaf in leaves]

    def run() -> None:
        with torch.set_grad_enabled(backward):
            out = call(*leaves)
            if backward:
                torch.autograd.grad(out.sum(), leaves)

    return run


def _layer_passes(layer: torch.nn.Module, x: Tensor, backward: bool) -> Any:
    x = x.detach().requires_grad_(backward)

    def run() -> None:
        with torch.set_grad_enabled(backward):
            out = layer(x)[0]
            if backward:
                torch.autograd.grad(out.sum(), [x, *layer.parameters()])

    return run


def _products(x: Tensor, kernel: Tensor, recurrent: Tensor, backward: bool) -> Any:
    """The dense products of the scan's equations and nothing else."""
    (batch, steps, inputs), units = x.shape, recurrent.shape[0]
    flat = x.reshape(-1, inputs)
    y, dq = x.new_ones(steps, batch, units), x.new_ones(steps, batch, 3 * units)
    q, dy = x.new_empty(batch, 3 * units), x.new_empty(batch, units)
    all_y, all_dq = y.view(-1, units), dq.view(-1, 3 * units)

    def run() -> None:
        torch.mm(flat, kernel)
        for t in range(steps):
            torch.mm(y[t], recurrent, out=q)
        if not backward:
            return
        for t in range(steps):
            torch.mm(dq[t], recurrent.t(), out=dy)
        torch.mm(all_y.t(), all_dq)
        torch.mm(flat.t(), all_dq)
        torch.mm(all_dq, kernel.t())

    return run


def _scan_row(
    size: tuple[int, ...], dtype: torch.dtype, backward: bool, ms: dict[str, float | None]
) -> dict[str, Any]:
    batch, steps, inputs, units = size
    numbers = _FORWARD_NUMBERS + _BACKWARD_NUMBERS * backward
    matrix = 3 * units * units * dtype.itemsize * (1 + backward)
    least = steps * matrix + 4 * numbers * batch * steps * units
    scan, gru, products = ms["egru_scan"], ms["nn.GRU"], ms["products"]
    return {
        "part": "scan", "batch": batch, "steps": steps, "inputs": inputs, "units": units,
        "dtype": str(dtype).removeprefix("torch."),
        "pass": "forward + backward" if backward else "forward",
        **{f"{name}_ms": value for name, value in ms.items()},
        "scan/products": ratio(scan, products), "nn.GRU/scan": ratio(gru, scan),
        "least_gb_s": None if scan is None else least / scan / 1e6,
    }  # fmt: skip
