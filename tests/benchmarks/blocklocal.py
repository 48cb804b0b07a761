"""Block-local training: memory and time of a step beside backpropagation, cuts, and accuracy.

    python tests/benchmarks/blocklocal.py [PART ...] [--rounds N] [--quick] [--no-save]
    python tests/benchmarks/blocklocal.py accuracy --runs FOLDER ...
    python tests/benchmarks/blocklocal.py grids --grids FOLDER ...

Memory is the peak over what is resident before the step: the activations, the gradients and the
heads'. There is no optimizer. Cuts balance the bytes saved for the backward pass. Time alternates
between the rules in one process of one thread and reports medians of the processor's seconds; a
step is forward and backward passes.

Cuts splits timm models into 4 blocks, on the meta device, and runs the leak check: of each class
of models the first one with at most 60 million parameters.

Compiled times a step of ResNet-18 that is compiled in parts or as a whole.

Processes trains a convolutional network on one rank of torch.distributed, then on two, one thread
each, with gloo. Ten-lines is the loop of the guide.

Accuracy and grids train nothing: they read the folders that `evenfall blocklocal compare` and
`evenfall grid run` wrote. Without a
PART memory and time are measured. Parts that are not named keep their rows in the record.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blocklocal_parts.cuts import cuts
from blocklocal_parts.memory import child, memory
from blocklocal_parts.ranks import processes, rank_main
from blocklocal_parts.results import accuracy, grids, ten_lines
from blocklocal_parts.times import compiled, time
from layout import by_part, key, percent, table
from record import Record, Rows, saved_rows
from script import finish, parser

TITLE = "Block-local training"
ABOUT = """A step of `BlockLocal`, whose blocks learn during the forward pass, beside one of
backpropagation. Read [the guide](blocklocal.md#results) for what the tables do and do not show."""
PARTS = ("memory", "time", "compiled", "processes", "cuts", "ten-lines", "accuracy", "grids")
NAMES = {
    "resnet18": "ResNet-18, 224 px", "resnet50": "ResNet-50, 224 px",
    "vit_small_patch16_224": "ViT-S/16, 224 px",
    "gpt2": "12-layer language model, 256 tokens",
}  # fmt: skip
NOTES = """Memory: one thread, the peak of one step over what is resident before it, without an
optimizer, in a process of its own; the median of several. Time: one thread, seconds of the
processor, in turn in one process. Ranks: one thread each, gloo, wall time while other work had a
lower priority. Accuracy: seconds are those of a busy machine, and compare with nothing else."""
METRICS: tuple[tuple[str, Callable[[str], Callable[[Any], Any]]], ...] = (
    ("accuracy", percent), ("perplexity", key),
)  # fmt: skip


def tables(record: Record) -> str:
    """Peaks, times, how many models can be cut, and accuracies."""
    parts = by_part(record)
    case = {
        "Model": lambda row: NAMES[row["model"]], "Batch": key("batch"), "Rule": key("rule"),
        "Blocks": key("blocks"),
    }  # fmt: skip
    peaks = case | {
        "Peak, MiB": key("peak_mib"), "Lowest": key("lowest"), "Highest": key("highest"),
        "Of backpropagation's": percent("share"),
        "Parameters of heads": key("head_parameters"),
    }  # fmt: skip
    times = case | {
        "Random tokens": key("samples"),
        "Seconds": key("seconds"),
        "Of backpropagation's": percent("ratio"),
    }
    modes = case | {
        "Compiled": key("mode"), "Seconds": key("seconds"),
        "Of backpropagation's": percent("ratio"),
    }  # fmt: skip
    ranks = {
        "Ranks": key("ranks"), "Batch": key("batch"), "Seconds a step": key("seconds"),
        "Times one rank": key("speedup"),
    }  # fmt: skip
    lines = {
        "Rule": key("rule"), "Training accuracy": percent("train_accuracy"),
        "Loaded by timm": percent("reloaded_accuracy"),
        "Parameters of heads": key("head_parameters"),
    }  # fmt: skip
    shown = {
        "memory": peaks, "time": times, "compiled": modes, "processes": ranks, "ten-lines": lines,
    }  # fmt: skip
    blocks = [table(columns, parts[name]) for name, columns in shown.items() if name in parts]
    blocks += _cells(parts.get("grids", []))
    blocks += _accuracies(parts.get("accuracy", []))
    if "cuts" in parts:
        failed = [row["model"] for row in parts["cuts"] if row["result"] != "ok"]
        count = len(parts["cuts"])
        text = f"Of {count} classes of timm models, {count - len(failed)} are cut into 4 blocks"
        blocks.append(f"{text}; not {', '.join(failed)}." if failed else f"{text}.")
    return "\n\n".join(blocks)


def _cells(rows: Rows) -> list[str]:
    """Tables of the cells of grids."""
    found = []
    for metric, show in METRICS:
        columns = {
            "Grid": key("grid"), "Recipe": key("recipe"), "Cell": key("cell"),
            f"Test {metric}": show(f"test_{metric}"), "Seeds": key("seeds"),
        }  # fmt: skip
        chosen = [row for row in rows if f"test_{metric}" in row]
        if chosen:
            found.append(table(columns, chosen))
    return found


def _accuracies(rows: Rows) -> list[str]:
    """Tables of the recipes that measure accuracy, and of those that measure perplexity."""
    found = []
    for metric, show in METRICS:
        columns = {
            "Recipe": key("recipe"), "Rule": key("rule"), f"Test {metric}": show(f"test_{metric}"),
            "Lowest": show("lowest"), "Highest": show("highest"),
            f"Training {metric}": show(f"train_{metric}"),
            "Parameters of heads": key("head_parameters"), "Seconds": key("seconds"),
            "Seeds": key("seeds"),
        }  # fmt: skip
        chosen = [row for row in rows if f"test_{metric}" in row]
        if chosen:
            found.append(table(columns, chosen))
    return found


def measure(options: argparse.Namespace) -> Rows:
    """The rows of the parts that were asked for, and the saved ones of the others."""
    parts: dict[str, Callable[[], Rows]] = {
        "memory": lambda: memory(options.quick, options.rounds),
        "time": lambda: time(options.quick, options.rounds),
        "compiled": lambda: compiled(options.quick, options.rounds),
        "processes": lambda: processes(options.quick, options.rounds),
        "cuts": lambda: cuts(options.quick),
        "ten-lines": lambda: ten_lines(options.data, options.quick),
        "accuracy": lambda: accuracy(options.runs),
        "grids": lambda: grids(options.grids),
    }
    found = {name: parts[name]() for name in options.parts}
    saved = saved_rows("blocklocal")
    kept = {name: [row for row in saved if row["part"] == name] for name in PARTS}
    return [row for name in PARTS for row in found.get(name, kept[name])]


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        name, rule, blocks, *quick = sys.argv[2:]
        child(name, rule, int(blocks), bool(quick))
        return
    if sys.argv[1:2] == ["rank"]:
        rank_main(int(sys.argv[2]))
        return
    asked = parser(__doc__, rounds=3, quick=True)
    asked.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; memory and time")
    asked.add_argument("--data", type=Path, help="folder of the data sets, for ten-lines")
    asked.add_argument(
        "--runs", type=Path, nargs="+", help="folders that `evenfall blocklocal compare` wrote"
    )
    asked.add_argument(
        "--grids", type=Path, nargs="+", help="folders that `evenfall grid run` wrote"
    )
    options = asked.parse_args()
    options.parts = options.parts or ["memory", "time"]
    if not set(options.parts) <= set(PARTS):
        asked.error(f"parts must be of {PARTS}, got {options.parts}")
    for part, folders in (("accuracy", "runs"), ("grids", "grids")):
        if part in options.parts and getattr(options, folders) is None:
            asked.error(f"{part} needs --{folders}")
    rows = measure(options)
    parts = " ".join(dict.fromkeys(row["part"] for row in rows))
    runs = "".join(
        f" --{option} {' '.join(f'runs/{name}' for name in dict.fromkeys(names))}" if names else ""
        for option, names in (
            ("runs", [row["recipe"] for row in rows if row["part"] == "accuracy"]),
            ("grids", [row["grid"] for row in rows if row["part"] == "grids"]),
        )
    )
    data = " --data data/" if "ten-lines" in parts else ""
    command = f"python tests/benchmarks/blocklocal.py {parts}{data}{runs}"
    finish("blocklocal", rows, options, " ".join(NOTES.split()), command)


if __name__ == "__main__":
    main()
