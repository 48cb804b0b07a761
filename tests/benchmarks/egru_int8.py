"""EGRU with matrices in int8, bfloat16 and float16: perplexity, size, memory and speed.

    python tests/benchmarks/egru_int8.py [loss size speed] [--data FOLDER] [--rounds 9] [--no-save]

The published checkpoint, and a model of the sizes of the EGRU paper with random weights. `loss`
reads --data, the folder with ptb/: validation with every form, the test text with float32 and int8
alone. Without a part, size and speed are measured; parts that are not named keep their rows in the
record.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from egru_int8_parts.forms import save_folders
from egru_int8_parts.loss import loss
from egru_int8_parts.memory import size
from egru_int8_parts.speed import TOKENS, speed
from layout import by_part, key, percent, table
from record import Record, Rows, saved_rows
from script import command_of, finish, parser

TITLE = "EGRU in int8"
ABOUT = (
    "The matrices of an EGRU stored in fewer bytes ([how](egru.md#int8-and-bfloat16)): what it "
    "costs in perplexity, and what it saves. *3 x 1350* is a model of the sizes of the EGRU paper "
    "with random weights, about 10 % of its units active."
)
NOTES = (
    f"One thread, batch 1, medians of forms that take turns in one process; {TOKENS} tokens. "
    "Memory is the peak of a process of its own while it loads a folder and writes ten tokens, "
    "above what is resident after it wrote some with a tiny model. Perplexity: Penn Treebank, "
    "window 256, full carry; the weights of this checkpoint are exact in bfloat16."
)
COLUMNS = {
    "loss": {
        "Weights": key("weights"),
        "Validation perplexity": lambda row: f"{row['valid']:.4f}",
        "Test perplexity": lambda row: f"{row['test']:.4f}" if row.get("test") else "–",
        "Events": percent("activity"),
    },
    "size": {
        "Model": key("model"),
        "Weights": key("weights"),
        "File, MB": key("file_mb"),
        "Memory, MiB": key("memory_mib"),
    },
    "speed": {
        "Model": key("model"),
        "Loop": key("loop"),
        "Weights": key("weights"),
        "Tokens a second": key("tokens_per_second"),
        "Times float32": key("times_float32"),
    },
}


def tables(record: Record) -> str:
    parts = by_part(record)
    return "\n\n".join(table(COLUMNS[part], parts[part]) for part in COLUMNS if part in parts)


def measure(parts: list[str], folder: Path, data: Path | None, rounds: int) -> Rows:
    """The rows of these parts; others keep those of the record."""
    folders, rows = save_folders(folder), []
    for part in COLUMNS:
        if part not in parts:
            rows += [row for row in saved_rows("egru_int8") if row["part"] == part]
        elif part == "loss":
            rows += loss(folders["egru-ptb-small"], data)
        else:
            rows += size(folders) if part == "size" else speed(folders, rounds)
    return rows


def main() -> None:
    options = parser(__doc__, rounds=9)
    options.add_argument("parts", nargs="*", help="loss, size, speed; default: size speed")
    options.add_argument("--data", type=Path, help="folder with ptb/, for loss")
    found = options.parse_args()
    parts = found.parts or ["size", "speed"]
    if not set(parts) <= COLUMNS.keys():
        options.error(f"parts must be among {list(COLUMNS)}, got {parts}")
    if ("loss" in parts) != (found.data is not None):
        options.error("loss and --data need each other")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(parts, Path(folder), found.data, found.rounds)
    command = f"{command_of('egru_int8')} loss size speed --data FOLDER"
    load = f" Load average of the machine after measuring: {os.getloadavg()[0]:.1f}."
    finish("egru_int8", rows, found, NOTES + load, command)


if __name__ == "__main__":
    main()
