"""Kill, starve and feed with rubbish what users run, and count what goes wrong.

    python tests/benchmarks/robustness.py [--parts kills,disk,…] [--resume] [--quick]

kills     processes are killed (SIGKILL) at random moments and started again: training of EGRU and
          STREAM, a study, a compilation for SpiNNaker2, a push to a Hub of this machine
disk      each command that writes does so on a full disk; needs a mount, so root
files     each reader gets 10,000 damaged files
plugins   50 broken plugins are installed beside the good ones
tokens    a million tokens and a million events, one after the other: does the memory grow?
parallel  eight threads, and four processes, on the same kernels

The record is written after each row; the rows of other parts stay. --resume goes on after a run
that was stopped: rows of `kills`, `disk` and `files` that the record has are not measured anew.
The exit status is 1 if anything went wrong. All parts take about an hour on two cores.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from layout import key, table
from record import Record, Rows, saved_rows
from robustness_parts import full_disk, kills, parallel, plugins, readers, tokens
from script import finish, parser, show

TITLE = "Robustness"
ABOUT = (
    "Processes are killed at random moments and started again, disks are full, files are damaged, "
    "plugins are broken. The last column counts what went wrong: a lost or different result, half "
    "a file, a traceback, a good plugin that does not load, a sum of another thread."
)
NOTES = "Random moments and changes by a fixed seed."
PARTS = {
    "kills": kills.measure,
    "disk": full_disk.measure,
    "files": readers.measure,
    "plugins": plugins.measure,
    "tokens": tokens.measure,
    "parallel": parallel.measure,
}


def tables(record: Record) -> str:
    columns = {
        "What": key("what"),
        "Tried": lambda row: f"{row['tried']:,} {row['unit']}",
        "Seen": key("seen"),
        "Went wrong": key("wrong"),
    }
    return table(columns, record["rows"])


def merged(saved: Rows, new: Rows, part: str, keep: set[str]) -> Rows:
    """The rows of the record with those of a part replaced, except the ones to keep."""
    others = [row for row in saved if row["part"] != part or row["what"] in keep]
    order = list(PARTS)
    return sorted(others + new, key=lambda row: order.index(row["part"]))


def main() -> int:
    options = parser(__doc__, quick=True)
    options.add_argument("--parts", default=",".join(PARTS), help="parts, separated by commas")
    options.add_argument("--seed", type=int, default=0, help="of the random moments and changes")
    options.add_argument("--resume", action="store_true", help="keep the rows already recorded")
    found = options.parse_args()
    unknown = set(found.parts.split(",")) - set(PARTS)
    if unknown:
        options.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    wrong = 0
    for part in found.parts.split(","):
        saved = saved_rows("robustness")
        keep = {row["what"] for row in saved if row["part"] == part} if found.resume else set()
        new: Rows = []
        with tempfile.TemporaryDirectory(prefix=f"robustness-{part}-") as folder:
            for row in PARTS[part](Path(folder), found.seed, found.quick, keep):
                line = "{what}: {tried} {unit}; {seen}; {wrong} went wrong".format(**row)
                print(f"{part}: {line}", *row.pop("notes", ()), sep="\n  ", flush=True)
                wrong += row["wrong"]
                new.append({"part": part} | row)
                rows = merged(saved_rows("robustness"), new, part, keep)
                finish("robustness", rows, found, NOTES, shown=False)
    show(TITLE, saved_rows("robustness"))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
