"""What every published checkpoint folder records: results, where they were measured, a card.

The plugins say what is in the results and in the card; this module only writes both, and knows
neither models nor the hub. `results.json` comes first and the card is made from it, so that no
figure of a card is written by hand.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .files import write_text

RESULTS, CARD = "results.json", "README.md"


def write_results(folder: str | Path, results: dict[str, Any]) -> Path:
    """Write results.json and return its path.

    Raises:
        TypeError: a value that JSON does not know.
    """
    return write_text(Path(folder) / RESULTS, json.dumps(results, indent=2) + "\n")


def write_card(folder: str | Path, make_card: Callable[[dict[str, Any]], object]) -> Path:
    """Write README.md from the folder's results.json and return its path.

    Args:
        folder: of the checkpoint.
        make_card: from the results to what the file holds, as `str` gives it.

    Raises:
        FileNotFoundError: the folder has no results.json.
        ValueError: results.json lacks something that the card states.
    """
    file = Path(folder) / RESULTS
    if not file.is_file():
        raise FileNotFoundError(f"folder {folder} has no {RESULTS}")
    try:
        card = make_card(json.loads(file.read_text(encoding="utf-8")))
    except (KeyError, StopIteration) as error:
        raise ValueError(f"{file} lacks what the card needs: {error}") from error
    return write_text(Path(folder) / CARD, str(card))


def card_text(metadata: str, text: str) -> str:
    """A card's content: the metadata, which is YAML, as front matter, then the text."""
    return f"---\n{metadata}\n---\n\n{text}"


def hub_split(split: str) -> str:
    """The name that the Hugging Face hub has for a split: "validation" for "valid"."""
    return {"valid": "validation"}.get(split, split)


def today() -> str:
    """The date in UTC, as YYYY-MM-DD."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def machine(device: str | None = None) -> dict[str, Any]:
    """What the figures were measured on: architecture, system, usable cores, PyTorch's threads.

    Args:
        device: where the model was, such as "cuda"; left out where None.
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
    """The versions of Python and of the distributions that produced the figures.

    Raises:
        importlib.metadata.PackageNotFoundError: a distribution that is not installed.
    """
    return {"python": platform.python_version(), **{name: version(name) for name in distributions}}
