"""The record of a benchmark: its rows, the command, the machine and the versions, as JSON."""

from __future__ import annotations

import json
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from evenfall.files import write_text
from evenfall.hub import today

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
PACKAGES = (
    "evenfall-core", "evenfall-kernels", "evenfall-egru", "evenfall-stream",
    "evenfall-blocklocal", "evenfall-spinnaker2", "torch", "torch_geometric", "transformers",
    "timm", "mamba_ssm", "numba", "numpy", "triton", "typer", "rich", "pluggy",
)  # fmt: skip

Record = dict[str, Any]
Rows = list[dict[str, Any]]


def save(
    subject: str, rows: Rows, command: str, notes: str, gpu: dict[str, Any] | None = None
) -> Path:
    """Write docs/benchmarks/<machine>/<subject>.json in one step and return its path.

    Args:
        subject: the file's name without ".json".
        rows: what was measured, JSON-able, units in the keys.
        command: what to run, from the root of the repository, to measure again.
        notes: what a reader must know to judge the numbers.
        gpu: "gpu" and "gpu_gib", the name and the memory of the GPU it ran on; None without one.
    """
    content = {
        "name": subject,
        "date": today(),
        "command": command,
        "notes": notes,
        "machine": machine() | (gpu or {}),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": versions(),
        "rows": rows,
    }
    path = FOLDER / folder_name(content["machine"]) / f"{subject}.json"
    return write_text(path, json.dumps(content, indent=2) + "\n")


def saved_rows(subject: str) -> Rows:
    """The rows of this machine's record of a subject; empty where there is none."""
    path = FOLDER / folder_name(machine()) / f"{subject}.json"
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def folder_name(about: dict[str, Any]) -> str:
    """The folder of a machine's records, such as "amd-epyc", or of its GPU where it has one."""
    name = re.sub(r"\((R|TM)\)|@.*|\b(Processor|CPU)\b", " ", about.get("gpu") or about["cpu"])
    return "-".join(re.findall(r"[a-z0-9]+", name.lower())) or "unknown"


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
