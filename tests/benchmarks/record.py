"""Save what a benchmark measured, with the machine and versions it was measured on."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parents[2] / "docs" / "benchmarks"

PACKAGES = (
    "evenfall-core",
    "evenfall-kernels",
    "evenfall-egru",
    "evenfall-stream",
    "torch",
    "torch_geometric",
    "transformers",
    "mamba_ssm",
    "numba",
    "numpy",
    "triton",
    "typer",
    "rich",
    "pluggy",
)


def save(name: str, rows: list[dict[str, Any]], command: str, notes: str = "") -> Path:
    """Write docs/benchmarks/<name>.json in one step and return its path.

    Args:
        name: the file's name without ".json".
        rows: what was measured, JSON-able, units in the keys.
        command: what to run, from the root of the repository, to measure again.
        notes: what a reader must know to judge the numbers.
    """
    content = {
        "name": name,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": command,
        "notes": notes,
        "machine": machine(),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": versions(),
        "rows": rows,
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    target = FOLDER / f"{name}.json"
    with tempfile.NamedTemporaryFile(
        "w", dir=FOLDER, suffix=".tmp", delete=False, encoding="utf-8"
    ) as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    os.chmod(file.name, 0o644)
    os.replace(file.name, target)
    return target


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Show `rows`, one column a key, floats to four digits."""
    shown = Table(title=title)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(_cell(row.get(column, "")) for column in columns))
    Console().print(shown)


def machine() -> dict[str, Any]:
    """The processor's model, the cores this process may use, and the memory in GiB."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "cpu": _cpu_model(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "ram_gib": _ram_gib(),
    }


def versions() -> dict[str, str]:
    """The versions of the packages that matter here, those that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _ram_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
