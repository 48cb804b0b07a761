"""egru_scan forward and backward against its own matrix products and against torch.nn.GRU.

The products are those that the scan's equations need: the input product, one recurrent product a
step, and in the backward pass one a step for the state and one over all steps for each weight.
torch.nn.GRU computes the same products, densely; its time is the one a user would otherwise have.
torch.mm sends float32 to MKL. Where oneDNN is faster the scan uses it for the products with a fixed
matrix, so that their time through oneDNN is given too: the stricter limit.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from record import save, table
from timing import medians

from evenfall_kernels import egru_scan
from evenfall_kernels.common.dense import DenseProduct

# batch, steps, inputs, units, rounds
SIZES = [
    (64, 70, 750, 1350, 5),
    (1, 70, 750, 1350, 15),
    (64, 70, 256, 512, 9),
    (1, 70, 256, 512, 41),
]


def weights(inputs: int, units: int) -> list[torch.Tensor]:
    """As at the start of training: Xavier-normal, zero biases."""
    torch.manual_seed(0)
    kernel, recurrent = torch.empty(inputs, 3 * units), torch.empty(units, 3 * units)
    torch.nn.init.xavier_normal_(kernel)
    torch.nn.init.xavier_normal_(recurrent)
    zeros = torch.zeros(3 * units)
    made = [kernel, recurrent, zeros, zeros.clone(), torch.full((units,), 0.01)]
    return [w.requires_grad_() for w in made]


def bf16_error(x: torch.Tensor, parameters: list[torch.Tensor]) -> dict[str, float]:
    """Relative error, in the Euclidean norm, of y and of the recurrent kernel's gradient."""
    found = []
    for low in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            y = egru_scan(x, *parameters).y
        found.append((y, torch.autograd.grad(y.square().sum(), parameters[1])[0]))
    (y, gradient), (y_low, gradient_low) = found
    return {
        "bf16_y_error": float((y_low - y).norm() / y.norm()),
        "bf16_gradient_error": float((gradient_low - gradient).norm() / gradient.norm()),
    }


def scan_function(
    x: torch.Tensor, parameters: list[torch.Tensor], threshold: float, low: bool = False
) -> Callable[[], float]:
    """Forward and backward; returns the activity. Units with a higher threshold fire less."""
    parameters = [*parameters[:4], torch.full_like(parameters[4], threshold).requires_grad_()]

    def run() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            y = egru_scan(x, *parameters).y
        torch.autograd.grad(y.sum(), [x, *parameters])
        return float((y != 0).float().mean())

    return run


def products_function(
    x: torch.Tensor, parameters: list[torch.Tensor], onednn: bool
) -> Callable[[], None]:
    kernel, recurrent = (w.detach() for w in parameters[:2])
    batch, steps, inputs = x.shape
    units = recurrent.shape[0]
    flat = x.detach().reshape(-1, inputs)
    y, dq = torch.randn(steps, batch, units), torch.randn(steps, batch, 3 * units)
    q, dy = torch.empty(batch, 3 * units), torch.empty(batch, units)
    all_dq, all_y = dq.view(-1, 3 * units), y.view(-1, units)

    matrices = kernel, recurrent, recurrent.t(), kernel.t()
    rows = batch * steps if onednn else 0  # 0 rows: stay with torch.mm

    def run() -> None:
        forward, forward_step, backward_step, backward = (DenseProduct(m, rows) for m in matrices)
        forward(flat)
        for t in range(steps):
            forward_step.into(y[t], q)
        for t in range(steps):
            backward_step.into(dq[t], dy)
        torch.mm(all_y.t(), all_dq)
        torch.mm(flat.t(), all_dq)
        backward(all_dq)

    return run


def gru_function(x: torch.Tensor, units: int) -> Callable[[], None]:
    gru = torch.nn.GRU(x.shape[-1], units, batch_first=True)

    def run() -> None:
        torch.autograd.grad(gru(x)[0].sum(), [x, *gru.parameters()])

    return run


def measure(batch: int, steps: int, inputs: int, units: int, rounds: int) -> list[dict]:
    x = torch.randn(batch, steps, inputs, requires_grad=True)
    parameters = weights(inputs, units)
    functions: dict[str, Callable[[], object]] = {
        "products": products_function(x, parameters, onednn=False),
        "oneDNN": products_function(x, parameters, onednn=True),
        "gru": gru_function(x, units),
    }
    scans = {
        "fp32, threshold 0.01": scan_function(x, parameters, 0.01),
        "fp32, threshold 0.6": scan_function(x, parameters, 0.6),
        "bf16 products": scan_function(x, parameters, 0.01, low=True),
    }
    seconds = medians({**functions, **scans}, rounds)
    return [
        {
            "batch": batch, "steps": steps, "inputs": inputs, "units": units, "scan": name,
            "activity": run(), "scan_ms": seconds[name] * 1e3,
            "products_ms": seconds["products"] * 1e3, "oneDNN_products_ms": seconds["oneDNN"] * 1e3,
            "nn.GRU_ms": seconds["gru"] * 1e3,
            "scan/products": seconds[name] / seconds["products"],
            "scan/oneDNN products": seconds[name] / seconds["oneDNN"],
            "nn.GRU/scan": seconds["gru"] / seconds[name],
            **(bf16_error(x, parameters) if name == "bf16 products" else {}),
        }
        for name, run in scans.items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-save", action="store_true", help="do not write docs/benchmarks")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    rows = [row for size in SIZES for row in measure(*size)]
    table("egru_scan, forward + backward, 2 threads, medians", rows)
    if not arguments.no_save:
        save(
            "egru_scan", rows, "python tests/benchmarks/bench_egru_scan.py",
            "Forward + backward with gradients of the input and every weight, medians in one "
            "process. products: the dense fp32 matrix products alone. Activity is measured.",
        )  # fmt: skip


if __name__ == "__main__":
    main()
