"""Check, time and train on a CUDA GPU, in under eight minutes.

    python tests/benchmarks/gpu.py [--seconds 450] [--train-seconds 60] [--no-save]
    python tests/benchmarks/gpu.py --interpret

First every Triton kernel, and STREAM that runs on them, is held to the float64 reference. Then
selective_scan and StreamConv are timed against mamba_ssm where that is installed, plain PyTorch and
transformers' Mamba; egru_scan against cuDNN, event_matmul against torch.mm. STREAM's published size
is trained on ModelNet10, and an EGRU language model on the Penn Treebank. Figures go to
docs/benchmarks/gpu.json after each part. A part that fails, a check too, is named in the notes and
leaves the others alone; the status is then 1. When the time is over, what is left is left out.

All distributions of this repository must be installed. On a machine without the network, bring the
wheels of `make wheels`: pip install --no-index --no-deps dist/*.whl

--interpret walks through the same code on tiny sizes without a GPU, Triton interpreted on the CPU.
Its checks count, its times mean nothing, and nothing is saved. Without a GPU and without
--interpret the status is 2.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from record import save, table
from rich.console import Console

console = Console(soft_wrap=True)
AROUND_TRAINING = 30  # seconds to load, to measure a step and to evaluate
TINY_TEXT = "the event moves the state and the state moves the event\n" * 12


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--interpret", action="store_true", help="tiny, on the CPU; saves nothing")
    parser.add_argument("--seconds", type=float, default=450, help="for all; the rest is left out")
    parser.add_argument("--train-seconds", type=float, default=60, help="EGRU; 0 leaves it out")
    parser.add_argument("--stream-seconds", type=float, default=90, help="STREAM; 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=15, help="of each timing")
    parser.add_argument("--no-save", action="store_true", help="do not write docs/benchmarks")
    return parser.parse_args()


class Session:
    """Rows as they are found, saved after each part; what fails or lasts too long ends its part."""

    def __init__(self, seconds: float, kept: bool) -> None:
        self.ends, self.kept = time.monotonic() + seconds, kept
        self.rows: list[dict[str, Any]] = []
        self.broken: list[str] = []

    def left(self) -> float:
        """Seconds until the time is over."""
        return self.ends - time.monotonic()

    def run(self, title: str, part: Callable[[], Iterable[dict[str, Any]]]) -> list[dict[str, Any]]:
        """The rows of a part, as far as it got."""
        rows: list[dict[str, Any]] = []
        if self.left() <= 0:
            console.print(f"{title}: left out, the time is over")
            return rows
        try:
            for row in part():
                rows.append(row)
                if self.left() <= 0:
                    console.print(f"{title}: cut short after {len(rows)} rows, the time is over")
                    break
        except Exception as problem:  # whatever ails one part, the others are worth having
            self.broken.append(f"{title}: {type(problem).__name__}: {problem}"[:300])
            console.print(traceback.format_exc(), markup=False)
        return rows

    def measure(self, title: str, part: Callable[[], Iterable[dict[str, Any]]]) -> None:
        """Show the rows of a part and keep them with all before."""
        found = self.run(title, part)
        if found:
            table(title, found)
            self.rows += found
        if self.kept and self.rows:
            self.save()

    def save(self) -> None:
        """Write docs/benchmarks/gpu.json, whole or not at all."""
        import torch

        about = torch.cuda.get_device_properties(0)
        broken = f" Failed: {'; '.join(self.broken)}." if self.broken else ""
        save(
            "gpu", self.rows, "python tests/benchmarks/gpu.py",
            f"{about.name}, {about.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}, "
            f"cuDNN {torch.backends.cudnn.version()}. TF32 is off. least_gb_s counts each array "
            f"once.{broken}",
        )  # fmt: skip


def check(session: Session, device: str, large: bool) -> None:
    """Hold all kernels to the reference; shows the failures, or the worst of the errors."""
    from gpu_checks import check_scan
    from gpu_event_checks import check_events
    from gpu_mamba_checks import check_mamba
    from gpu_stream_checks import check_stream

    rows = []
    for one in (check_mamba, check_stream, check_scan, check_events):
        rows += session.run(one.__name__, partial(one, device, large))
    failed = [row for row in rows if not row["ok"]]
    session.broken += [f"{row['check']}: error {row['error']:.2g}" for row in failed]
    shown = failed or sorted(rows, key=lambda row: -row["error"])[:8]
    table("failed" if failed else "largest errors", shown)
    console.print(f"{len(rows) - len(failed)} of {len(rows)} checks passed")


def measure(session: Session, device: str, large: bool, rounds: int) -> None:
    from gpu_mamba_timing import compiled_scan, time_mamba
    from gpu_stream_timing import time_stream
    from gpu_timing import SIZES, TINY_SIZES, time_events, time_scans

    if compiled_scan() is None:
        console.print("no mamba_ssm with its CUDA extension: the scan's rival is plain PyTorch")
    session.measure("Mamba's kernels, medians", lambda: time_mamba(device, large, rounds))
    session.measure("STREAM's layer, medians", lambda: time_stream(device, large, rounds))
    sizes = SIZES if large else TINY_SIZES
    session.measure("egru_scan, medians", lambda: time_scans(device, sizes, rounds))
    units = (1350, 4050) if large else (8, 24)
    session.measure("event_matmul, medians", lambda: time_events(device, *units, rounds))


def trained(seconds: float, large: bool) -> list[dict[str, Any]]:
    """The training row; empty where it is not asked for or there is no data."""
    from gpu_training import PAPER, TINY, data_folder, train_for

    if seconds <= 0:
        return []
    if large:
        data = data_folder("ptb")
        if data is None:
            console.print("no Penn Treebank: training is left out; set EVENFALL_DATA to its folder")
            return []
        row = train_for(PAPER, data, seconds)
    else:
        with tempfile.TemporaryDirectory() as folder:
            for split in ("train", "valid"):
                (Path(folder) / f"{split}.txt").write_text(TINY_TEXT, encoding="utf-8")
            row = train_for(TINY, Path(folder), 0.0)
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
            console.print("no ModelNet10: training is left out; set EVENFALL_DATA to its parent")
            return []
        row = train_for(PUBLISHED, data, seconds)
    else:
        with tempfile.TemporaryDirectory() as folder:
            write_tiny_data(Path(folder))
            row = train_for(TINY, Path(folder), 0.0)
    return [row]


def main() -> int:
    options = parsed()
    if options.interpret:
        options.seconds = 3600.0
        os.environ |= {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    import torch

    if not options.interpret and not torch.cuda.is_available():
        console.print("no CUDA GPU found by torch; --interpret runs the checks on the CPU")
        return 2
    torch.set_float32_matmul_precision("highest")  # float32 stands against float64
    torch.backends.cudnn.allow_tf32 = False  # on by default for nn.GRU and nn.LSTM
    large, device = not options.interpret, "cpu" if options.interpret else "cuda"
    session = Session(options.seconds, large and not options.no_save)
    check(session, device, large)
    measure(session, device, large, options.rounds if large else 1)
    for title, part, most in (
        ("training STREAM", trained_stream, options.stream_seconds),
        ("training", trained, options.train_seconds),
    ):
        seconds = min(most, session.left() - AROUND_TRAINING) if large else most
        session.measure(title, partial(part, seconds, large))
    for problem in session.broken:
        console.print(f"failed: {problem}", markup=False)
    return 1 if session.broken else 0


if __name__ == "__main__":
    sys.exit(main())
