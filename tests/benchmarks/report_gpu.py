"""What gpu.py measured: the Triton kernels."""

from __future__ import annotations

from page_tables import Record, by_part, key, table

PLACE = 60


def section(record: Record) -> str:
    """The block of the page."""
    parts = by_part(record)
    scans = {
        "Batch": key("batch"),
        "Steps": key("steps"),
        "Sizes": lambda row: f"{row['inputs']} → {row['units']}",
        "Dtype": key("dtype"),
        "Pass": key("pass"),
        "Scan, ms": key("egru_scan_ms"),
        "Products, ms": key("products_ms"),
        "`nn.GRU`, ms": key("nn.GRU_ms"),
        "`nn.LSTM`, ms": key("nn.LSTM_ms"),
        "At least, GB/s": key("least_gb_s"),
    }
    events = {
        "Batch": key("batch"),
        "Activity": lambda row: f"{row['activity'] * 100:g} %",
        "Product": key("product"),
        "µs": key("microseconds"),
        "Times faster than dense": key("times_faster_than_dense"),
        "GB/s": key("gb_s"),
    }
    training = {
        "Layers": key("hidden_sizes"),
        "Parameters": key("parameters"),
        "Epochs": key("epochs"),
        "Seconds": key("seconds"),
        "Tokens a second": key("tokens_per_second"),
        "Validation perplexity": key("validation_perplexity"),
        "Activity": lambda row: f"{row['mean_activity'] * 100:.3g} %",
    }
    mambas = {
        "Operation": key("operation"),
        "Batch": key("batch"),
        "Channels": key("channels"),
        "Steps": key("length"),
        "Pass": key("pass"),
        "ms": key("evenfall_ms"),
        "`mamba_ssm`, ms": key("mamba_ssm_ms"),
        "Plain PyTorch, ms": key("torch_ms"),
        "At least, GB/s": key("least_gb_s"),
        "A copy, GB/s": key("copy_gb_s"),
    }
    stream = {
        "Layer": key("layer"),
        "Sequences": key("sequences"),
        "Length": key("length"),
        "Channels": key("channels"),
        "Pass": key("pass"),
        "ms": key("ms"),
        "Times `StreamConv`, one axis": key("times_one_axis"),
    }
    stream_training = {
        "STREAM": lambda row: f"{row['depth']} blocks of {row['width']}",
        "Parameters": key("parameters"),
        "Epochs": key("epochs"),
        "Seconds": key("seconds"),
        "Clouds a second": key("clouds_per_second"),
        "Test clouds": key("test_clouds"),
        "Test accuracy": lambda row: f"{row['test_accuracy'] * 100:.3g} %",
    }
    shown = {
        "scan": scans, "event": events, "mamba": mambas, "stream": stream, "training": training,
        "stream training": stream_training,
    }  # fmt: skip
    chosen = {"event": lambda row: row["batch"] == 1 and row["activity"] in (0.01, 0.1, 1.0)}
    blocks = ["## On a GPU\n\nThe Triton kernels, checked against float64 before they are timed."]
    for part, columns in shown.items():
        rows = [row for row in parts.get(part, []) if chosen.get(part, lambda row: True)(row)]
        blocks += [table(columns, rows)] if rows else []
    return "\n\n".join(blocks)
