"""How long imports and the command line take, and what picking a kernel costs.

Each row is the median of some fresh processes, or of repeated calls in one. Budgets, which depend
on no clock, are in tests/structure/test_startup.py: it counts the modules that each start imports.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
import timeit
from typing import Any

from layout import key, table
from record import Record
from script import finish, parser

from evenfall import backends

TITLE = "Startup"
ABOUT = (
    "Fresh processes, and one choice of a kernel. `import evenfall_kernels` and the packages whose "
    "layers are PyTorch modules import PyTorch; `evenfall_egru` and `evenfall_sparsity` register "
    "classes with transformers, so they import it, too. Help imports neither."
)
RUNS = 5
PLUGINS = ("blocklocal", "egru", "mamba", "sparsity", "spinnaker2", "stream")
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import evenfall": ["-c", "import evenfall"],
    "evenfall --version": ["-m", "evenfall", "--version"],
    "evenfall --help": ["-m", "evenfall", "--help"],
    "evenfall plugins": ["-m", "evenfall", "plugins"],
    **{f"evenfall {name} --help": ["-m", "evenfall", name, "--help"] for name in PLUGINS},
    "import torch": ["-c", "import torch"],
    "import torch, transformers.modeling_utils": [
        "-c",
        "import torch, transformers.modeling_utils",
    ],
    **{
        f"import evenfall_{name}": ["-c", f"import evenfall_{name}"]
        for name in ("kernels", *PLUGINS)
    },
}


def wall_ms(arguments: list[str]) -> list[float]:
    """Wall time of RUNS fresh processes, in milliseconds, after one that warms the file cache."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        times.append(1e3 * (time.perf_counter() - start))
    return times[1:]


def select_us() -> list[float]:
    """Time of a repeated `select`, in microseconds; empty where no kernel is registered."""
    operations = backends.operations()
    if not operations:
        return []
    number = 20_000
    timed = timeit.repeat(lambda: backends.select(operations[0]), number=number, repeat=RUNS)
    return [1e6 * seconds / number for seconds in timed]


def row(what: str, unit: str, values: list[float]) -> dict[str, Any]:
    """The median, fastest and slowest of `values`."""
    return {
        "what": what,
        "unit": unit,
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def tables(record: Record) -> str:
    columns = {
        "What": lambda row: f"`{row['what']}`",
        "Unit": lambda row: "µs" if row["unit"] == "us" else row["unit"],
        "Median": key("median"),
        "Fastest": key("min"),
        "Slowest": key("max"),
    }
    return table(columns, record["rows"])


def main() -> None:
    options = parser(__doc__).parse_args()
    rows = [row(name, "ms", wall_ms(arguments)) for name, arguments in COMMANDS.items()]
    selection = select_us()
    if selection:
        rows.append(row("backends.select, repeated", "us", selection))
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    finish("startup", rows, options, f"Load average of the machine while measuring: {load}.")


if __name__ == "__main__":
    main()
