"""The EGRU scan against its products alone and against nn.GRU."""

from __future__ import annotations

from page_pictures import BLUE, GREY, ORANGE, pyplot
from page_tables import Record, Rows, key, number, table

PLACE = 30
IMAGE = "egru-scan.svg"


def section(record: Record) -> str:
    """The block of the page."""
    columns = {
        "Batch": key("batch"),
        "Steps": key("steps"),
        "Sizes": lambda row: f"{row['inputs']} → {row['units']}",
        "Scan": key("scan"),
        "Activity": lambda row: f"{row['activity'] * 100:.3g} %",
        "Scan, ms": key("scan_ms"),
        "Products, ms": key("products_ms"),
        "oneDNN products, ms": key("oneDNN_products_ms"),
        "`nn.GRU`, ms": key("nn.GRU_ms"),
        "`nn.GRU` / scan": key("nn.GRU/scan"),
    }
    errors = [row for row in record["rows"] if "bf16_y_error" in row]
    text = (
        "## The EGRU scan\n\nForward and backward over whole sequences. *Products* are the dense "
        "float32 matrix products that the equations need and nothing else, through `torch.mm` and "
        "through oneDNN.\n\n"
        "![Milliseconds of the scan, of its products alone and of nn.GRU](images/egru-scan.svg)\n\n"
        + table(columns, record["rows"])
    )
    if errors:
        y, gradient = (
            max(row[name] for row in errors) * 100
            for name in ("bf16_y_error", "bf16_gradient_error")
        )
        text += (
            f"\n\nWith bfloat16 products `y` differs from float32 by at most {number(y)} % and the "
            f"gradient of the recurrent matrix by at most {number(gradient)} %, in the Euclidean "
            "norm."
        )
    return text


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


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
