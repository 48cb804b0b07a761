"""Check, time and train on a CUDA GPU, in under ten minutes.

    python tests/benchmarks/gpu.py [--train-seconds 120] [--stream-seconds 180] [--no-save]
    python tests/benchmarks/gpu.py --interpret

First every Triton kernel, and STREAM that runs on them, is held to the float64 reference; one that
fails ends the run with status 1. Then egru_scan is timed against cuDNN, event_matmul against
torch.mm, selective_scan and StreamConv against mamba_ssm where that is installed and against
transformers' Mamba. An EGRU language model is trained on the Penn Treebank, and STREAM's published
size on ModelNet10. Figures go to docs/benchmarks/gpu.json.

--interpret walks through the same code on tiny sizes without a GPU, Triton interpreted on the CPU.
Its checks count, its times mean nothing, and nothing is saved. Without a GPU and without
--interpret the status is 2.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import save, table
from rich.console import Console

console = Console(soft_wrap=True)
TINY_TEXT = "the event moves the state and the state moves the event\n" * 12


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--interpret", action="store_true", help="tiny, on the CPU; saves nothing")
    parser.add_argument("--train-seconds", type=float, default=120, help="EGRU; 0 leaves it out")
    parser.add_argument("--stream-seconds", type=float, default=180, help="STREAM; 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=15, help="of each timing")
    parser.add_argument("--no-save", action="store_true", help="do not write docs/benchmarks")
    return parser.parse_args()


def check(device: str, large: bool) -> bool:
    """Whether all kernels equal the reference; shows the failures and the worst of the rest."""
    from gpu_checks import check_scan
    from gpu_event_checks import check_events
    from gpu_mamba_checks import check_mamba
    from gpu_stream_checks import check_stream

    checks = (check_scan, check_events, check_mamba, check_stream)
    rows = [row for one in checks for row in one(device, large)]
    failed = [row for row in rows if not row["ok"]]
    shown = failed or sorted(rows, key=lambda row: -row["error"])[:8]
    table("failed" if failed else "largest errors", shown)
    console.print(f"{len(rows) - len(failed)} of {len(rows)} checks passed")
    return not failed


def measure(device: str, large: bool, rounds: int) -> list[dict[str, Any]]:
    from gpu_mamba_timing import time_mamba
    from gpu_stream_timing import time_stream
    from gpu_timing import SIZES, TINY_SIZES, time_events, time_scans

    scans = time_scans(device, SIZES if large else TINY_SIZES, rounds)
    table("egru_scan, medians", scans)
    events = time_events(device, *((1350, 4050) if large else (8, 24)), rounds)
    table("event_matmul, medians", events)
    mamba = time_mamba(device, large, rounds)
    table("Mamba's kernels, medians", mamba)
    stream = time_stream(device, large, rounds)
    table("STREAM's layer, medians", stream)
    return scans + events + mamba + stream


def trained(seconds: float, large: bool) -> list[dict[str, Any]]:
    """The training row; empty where it is not asked for or there is no data."""
    from gpu_training import PAPER, TINY, data_folder, train_for

    if seconds <= 0:
        return []
    if large:
        data = data_folder("ptb")
        if data is None:
            console.print("no Penn Treebank: training is left out; set EVENTIDE_DATA to its folder")
            return []
        row = train_for(PAPER, data, seconds)
    else:
        with tempfile.TemporaryDirectory() as folder:
            for split in ("train", "valid"):
                (Path(folder) / f"{split}.txt").write_text(TINY_TEXT, encoding="utf-8")
            row = train_for(TINY, Path(folder), 0.0)
    table("training", [row])
    return [row]


def trained_stream(seconds: float, large: bool) -> list[dict[str, Any]]:
    """As trained, for STREAM."""
    from gpu_stream_training import FOLDER, PUBLISHED, TINY, train_for, write_tiny_data
    from gpu_training import data_folder

    if seconds <= 0:
        return []
    if large:
        data = data_folder(FOLDER)
        if data is None:
            console.print("no ModelNet10: training is left out; set EVENTIDE_DATA to its parent")
            return []
        row = train_for(PUBLISHED, data, seconds)
    else:
        with tempfile.TemporaryDirectory() as folder:
            write_tiny_data(Path(folder))
            row = train_for(TINY, Path(folder), 0.0)
    table("training STREAM", [row])
    return [row]


def main() -> int:
    options = parsed()
    if options.interpret:
        os.environ |= {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    import torch

    if not options.interpret and not torch.cuda.is_available():
        console.print("no CUDA GPU found by torch; --interpret runs the checks on the CPU")
        return 2
    torch.set_float32_matmul_precision("highest")  # float32 stands against float64
    torch.backends.cudnn.allow_tf32 = False  # on by default for nn.GRU and nn.LSTM
    large, device = not options.interpret, "cpu" if options.interpret else "cuda"
    if not check(device, large):
        return 1
    rows = measure(device, large, options.rounds if large else 1)
    rows += trained(options.train_seconds, large)
    rows += trained_stream(options.stream_seconds, large)
    if large and not options.no_save:
        about = torch.cuda.get_device_properties(0)
        save(
            "gpu", rows, "python tests/benchmarks/gpu.py",
            f"{about.name}, {about.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}, "
            f"cuDNN {torch.backends.cudnn.version()}. TF32 is off. least_gb_s counts each array "
            "once.",
        )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
