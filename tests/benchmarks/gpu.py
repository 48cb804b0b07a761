"""Check, time and train on a CUDA GPU, in under eight minutes.

    python tests/benchmarks/gpu.py [--seconds 450] [--train-seconds 60] [--no-save]
    python tests/benchmarks/gpu.py --dry-run

First every test marked gpu: each Triton kernel, and STREAM that runs on them, is held to the
float64 reference. Then selective_scan and StreamConv are timed against mamba_ssm where that is
installed, plain PyTorch and transformers' Mamba; egru_scan against cuDNN, event_matmul against
torch.mm. STREAM's published size is trained on ModelNet10, and an EGRU language model on the Penn
Treebank. Each row goes to docs/benchmarks/<gpu>/gpu.json when it is there. A part that fails, a
check too, is named in the notes and leaves the others alone. When the time is over, what is left is
left out.

The exit status is 0 where every check passed and no part failed, else 1; without a GPU and without
--dry-run it is 2.

All distributions of this repository must be installed. On a machine without the network, bring the
wheels of `make wheels` and those of pytest, fetched where there is a network:

    pip download --only-binary :all: --dest tests/benchmarks/wheels pytest
    pip install --no-index --no-deps dist/*.whl      # on the GPU machine; pytest's stay there

--dry-run walks through the same code on tiny sizes without a GPU, Triton interpreted on the CPU,
and runs two cases of each test. Its checks count, its times mean nothing, and nothing is saved.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from gpu_parts.session import Session, console
from layout import by_part, key, percent, table
from record import Record

TITLE = "On a GPU"
ABOUT = "The Triton kernels, checked against float64 before they are timed."
AROUND_TRAINING = 30  # seconds to load, to measure a step and to evaluate
TINY_TEXT = "the event moves the state and the state moves the event\n" * 12
COLUMNS = {
    "checks": {
        "Tests": lambda row: f"`{row['file']}`",
        "Passed": key("passed"),
        "Failed": key("failed"),
        "Skipped": key("skipped"),
        "Seconds": key("seconds"),
    },
    "scan": {
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
    },
    "event": {
        "Batch": key("batch"),
        "Activity": lambda row: f"{row['activity'] * 100:g} %",
        "Product": key("product"),
        "µs": key("microseconds"),
        "Times faster than dense": key("times_faster_than_dense"),
        "GB/s": key("gb_s"),
    },
    "mamba": {
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
    },
    "stream": {
        "Layer": key("layer"),
        "Sequences": key("sequences"),
        "Length": key("length"),
        "Channels": key("channels"),
        "Pass": key("pass"),
        "ms": key("ms"),
        "Times `StreamConv`, one axis": key("times_one_axis"),
    },
    "training": {
        "Layers": key("hidden_sizes"),
        "Parameters": key("parameters"),
        "Epochs": key("epochs"),
        "Seconds": key("seconds"),
        "Tokens a second": key("tokens_per_second"),
        "Validation perplexity": key("validation_perplexity"),
        "Activity": percent("mean_activity"),
    },
    "stream training": {
        "STREAM": lambda row: f"{row['depth']} blocks of {row['width']}",
        "Parameters": key("parameters"),
        "Epochs": key("epochs"),
        "Seconds": key("seconds"),
        "Clouds a second": key("clouds_per_second"),
        "Test clouds": key("test_clouds"),
        "Test accuracy": percent("test_accuracy"),
    },
}


def tables(record: Record) -> str:
    """A table for each part; of event_matmul, single vectors at three activities."""
    parts = by_part(record)
    parts["event"] = [
        row
        for row in parts.get("event", [])
        if row["batch"] == 1 and row["activity"] in (0.01, 0.1, 1.0)
    ]
    return "\n\n".join(
        table(columns, parts[part]) for part, columns in COLUMNS.items() if parts.get(part)
    )


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dry-run", action="store_true", help="tiny, on the CPU; saves nothing")
    parser.add_argument("--seconds", type=float, default=450, help="for all; the rest is left out")
    parser.add_argument("--train-seconds", type=float, default=60, help="EGRU; 0 leaves it out")
    parser.add_argument("--stream-seconds", type=float, default=90, help="STREAM; 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=15, help="of each timing")
    parser.add_argument("--no-save", action="store_true", help="do not write docs/benchmarks")
    return parser.parse_args()


def check(session: Session, dry: bool) -> None:
    """Run the tests marked gpu; each that fails is named."""
    from gpu_parts.checks import check as files

    rows = session.run("checks", partial(files, session.left, dry))
    for row in rows:
        for failure in row["failures"]:
            session.fail(f"{row['file']}: {failure}")
    passed, failed = (sum(row[name] for row in rows) for name in ("passed", "failed"))
    console.print(f"{passed} of {passed + failed} checks passed")


def measure(session: Session, device: str, large: bool, rounds: int) -> None:
    from gpu_parts.egru import time_scans
    from gpu_parts.events import time_events
    from gpu_parts.mamba import compiled_scan, time_mamba
    from gpu_parts.stream import time_stream

    if compiled_scan() is None:
        console.print("no mamba_ssm with its CUDA extension: the scan's rival is plain PyTorch")
    for title, part in (
        ("Mamba's kernels, medians", time_mamba),
        ("STREAM's layer, medians", time_stream),
        ("egru_scan, medians", time_scans),
        ("event_matmul, medians", time_events),
    ):
        session.run(title, partial(part, device, large, rounds))


def data_folder(name: str) -> Path | None:
    """`$EVENFALL_DATA/name`, else shared/data/name beside the checkout; None where it is absent."""
    configured = os.environ.get("EVENFALL_DATA")
    root = Path(configured) if configured else Path(__file__).parents[3] / "shared" / "data"
    return root / name if (root / name).is_dir() else None


def trained(seconds: float, large: bool) -> list[dict[str, Any]]:
    """The training row; empty where it is not asked for or there is no data."""
    from gpu_parts.train_egru import PAPER, TINY, train_for

    if seconds <= 0:
        return []
    if large:
        data = data_folder("ptb")
        if data is None:
            console.print("no Penn Treebank: training is left out; set EVENFALL_DATA to its folder")
            return []
        return [train_for(PAPER, data, seconds)]
    with tempfile.TemporaryDirectory() as folder:
        for split in ("train", "valid"):
            (Path(folder) / f"{split}.txt").write_text(TINY_TEXT, encoding="utf-8")
        return [train_for(TINY, Path(folder), 0.0)]


def trained_stream(seconds: float, large: bool) -> list[dict[str, Any]]:
    """As trained, for STREAM."""
    from gpu_parts.train_stream import FOLDER, PUBLISHED, TINY, train_for, write_tiny_data

    if seconds <= 0:
        return []
    if large:
        data = data_folder(FOLDER)
        if data is None:
            console.print("no ModelNet10: training is left out; set EVENFALL_DATA to its parent")
            return []
        return [train_for(PUBLISHED, data, seconds)]
    with tempfile.TemporaryDirectory() as folder:
        write_tiny_data(Path(folder))
        return [train_for(TINY, Path(folder), 0.0)]


def main() -> int:
    options = parsed()
    if options.dry_run:
        options.seconds = 3600.0
        os.environ |= {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    import torch

    if not options.dry_run and not torch.cuda.is_available():
        console.print("no CUDA GPU found by torch; --dry-run runs the checks on the CPU")
        return 2
    torch.set_float32_matmul_precision("highest")  # float32 stands against float64
    torch.backends.cudnn.allow_tf32 = False  # on by default for nn.GRU and nn.LSTM
    large, device = not options.dry_run, "cpu" if options.dry_run else "cuda"
    if options.dry_run and importlib.util.find_spec("triton") is not None:
        from evenfall.testing.interpreter import quicken_interpreter

        quicken_interpreter()
    session = Session(options.seconds, large and not options.no_save)
    check(session, options.dry_run)
    measure(session, device, large, options.rounds if large else 1)
    for title, part, most in (
        ("training STREAM", trained_stream, options.stream_seconds),
        ("training", trained, options.train_seconds),
    ):
        seconds = min(most, session.left() - AROUND_TRAINING) if large else most
        session.run(title, partial(part, seconds, large))
    for problem in session.broken:
        console.print(f"failed: {problem}", markup=False)
    return 1 if session.broken else 0


if __name__ == "__main__":
    sys.exit(main())
