"""egru_scan forward and backward against its own matrix products and against torch.nn.GRU.

The products are those that the scan's equations need: the input product, one recurrent product a
step, and in the backward pass one a step for the state and one over all steps for each weight.
torch.nn.GRU computes the same products, densely; its time is the one a user would otherwise have.
torch.mm sends float32 to MKL. Where oneDNN is faster the scan uses it for the products with a fixed
matrix, so that their time through oneDNN is given too: the stricter limit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from layout import BLUE, GREY, ORANGE, key, number, percent, pyplot, table
from record import Record, Rows
from script import finish, parser
from timing import medians

from evenfall_kernels import egru_scan
from evenfall_kernels.common.dense import DenseProduct

TITLE = "The EGRU scan"
ABOUT = (
    "Forward and backward over whole sequences. *Products* are the dense float32 matrix products "
    "that the equations need and nothing else, through `torch.mm` and through oneDNN."
)
IMAGE, ALT = "egru-scan.svg", "Milliseconds of the scan, of its products alone and of nn.GRU"
NOTES = (
    "Forward + backward with gradients of the input and every weight, medians in one process. "
    "products: the dense fp32 matrix products alone. Activity is measured."
)
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


def measure(batch: int, steps: int, inputs: int, units: int, rounds: int) -> Rows:
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


def tables(record: Record) -> str:
    """Times and their ratios; below, how far bfloat16 products move the result."""
    columns = {
        "Batch": key("batch"),
        "Steps": key("steps"),
        "Sizes": lambda row: f"{row['inputs']} → {row['units']}",
        "Scan": key("scan"),
        "Activity": percent("activity"),
        "Scan, ms": key("scan_ms"),
        "Products, ms": key("products_ms"),
        "oneDNN products, ms": key("oneDNN_products_ms"),
        "`nn.GRU`, ms": key("nn.GRU_ms"),
        "`nn.GRU` / scan": key("nn.GRU/scan"),
    }
    text = table(columns, record["rows"])
    errors = [row for row in record["rows"] if "bf16_y_error" in row]
    if errors:
        y, gradient = (
            number(max(row[name] for row in errors) * 100)
            for name in ("bf16_y_error", "bf16_gradient_error")
        )
        text += (
            f"\n\nWith bfloat16 products `y` differs from float32 by at most {y} % and the "
            f"gradient of the recurrent matrix by at most {gradient} %, in the Euclidean norm."
        )
    return text


def picture(rows: Rows) -> None:
    """One panel a size, bars in milliseconds."""
    plt = pyplot()
    panels: dict[tuple[int, ...], Rows] = {}
    for row in rows:
        panels.setdefault((row["batch"], row["steps"], row["inputs"], row["units"]), []).append(row)
    figure, all_axes = plt.subplots(-(-len(panels) // 2), 2, figsize=(9, 5), squeeze=False)
    for axes, (size, found) in zip(all_axes.flat, panels.items(), strict=False):
        bars = [("nn.GRU", found[0]["nn.GRU_ms"], GREY),
                ("products, torch.mm", found[0]["products_ms"], ORANGE),
                ("products, oneDNN", found[0]["oneDNN_products_ms"], ORANGE)]  # fmt: skip
        bars += [
            (f"egru_scan, {row['scan'].replace('threshold', 'thr.')}", row["scan_ms"], BLUE)
            for row in found
        ]
        names, values, colours = zip(*bars[::-1], strict=True)
        axes.bar_label(axes.barh(names, values, color=colours), fmt=_short, padding=2, fontsize=8)
        axes.margins(x=0.15)
        batch, steps, inputs, units = size
        axes.set_title(f"batch {batch}, {steps} steps, {inputs} → {units}", fontsize=9)
        axes.set_xlabel("ms, forward and backward")
    for axes in all_axes.flat[len(panels) :]:
        axes.set_visible(False)
    figure.tight_layout()


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    options = parser(__doc__).parse_args()
    torch.set_num_threads(2)
    finish("egru_scan", [row for size in SIZES for row in measure(*size)], options, NOTES)


if __name__ == "__main__":
    main()
