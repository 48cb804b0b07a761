"""A folder to publish: results, the machine and versions behind them, and the card.

Plugins decide what the results and the card contain; this module writes them. `results.json` comes
first and the card is made from it, so no number in a card is typed by hand.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evenfall.files import write_json, write_text, written_aside
from evenfall.reading import read_json

RESULTS, CARD = "results.json", "README.md"


def pack_folder(
    output: str | Path,
    fill: Callable[[Path], dict[str, Any]],
    make_card: Callable[[dict[str, Any]], object],
    *,
    command: str,
    packages: Sequence[str],
    replace: bool = False,
) -> Path:
    """Make the folder to publish: the files of `fill`, results.json and the card.

    Args:
        output: the folder; it appears whole or not at all, and its name is the checkpoint's name.
        fill: called with the folder; writes weights, recipe and pictures, and returns the results,
            including "machine".
        make_card: as for write_card.
        command: the command that made the folder; the card shows it.
        packages: distributions whose versions the results record.
        replace: whether an existing `output` may be replaced.

    Returns:
        `output`.

    Raises:
        FileExistsError: `output` exists and `replace` is off.
        ValueError: the results lack a value that the card needs.
    """
    output = Path(output)
    with written_aside(output, replace=replace) as folder:
        results = {
            "checkpoint": output.name,
            "command": command,
            "date": today(),
            **fill(folder),
            "versions": versions(*packages),
        }
        write_results(folder, results)
        write_card(folder, make_card)
    return output


def write_results(folder: str | Path, results: dict[str, Any]) -> Path:
    """Write results.json and return its path.

    Raises:
        TypeError: a value cannot be written as JSON.
        ValueError: a result is NaN or infinite; the message names it.
    """
    return write_json(Path(folder) / RESULTS, results)


def write_card(folder: str | Path, make_card: Callable[[dict[str, Any]], object]) -> Path:
    """Write README.md from the folder's results.json and return its path.

    Args:
        folder: the checkpoint's folder.
        make_card: called with the results; `str` of what it returns is the text of the file.

    Raises:
        FileNotFoundError: the folder has no results.json.
        ValueError: results.json is damaged, or lacks a value that the card needs.
    """
    file = Path(folder) / RESULTS
    if not file.is_file():
        raise FileNotFoundError(f"folder {folder} has no {RESULTS}")
    results = read_json(file)
    try:
        card = make_card(results)
    except (KeyError, StopIteration) as error:
        raise ValueError(f"{file} lacks what the card needs: {error}") from error
    return write_text(Path(folder) / CARD, str(card))


def today() -> str:
    """The date in UTC, as YYYY-MM-DD."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def machine(device: str | None = None) -> dict[str, Any]:
    """The machine of a measurement: architecture, system, usable cores, PyTorch's threads.

    Args:
        device: the model's device, such as "cuda"; None leaves it out.
    """
    import torch

    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "architecture": platform.machine(),
        "system": platform.system(),
        **({} if device is None else {"device": device}),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
    }


def versions(*distributions: str) -> dict[str, str]:
    """The versions of Python and of the distributions.

    Raises:
        importlib.metadata.PackageNotFoundError: a distribution is not installed.
    """
    return {"python": platform.python_version(), **{name: version(name) for name in distributions}}
