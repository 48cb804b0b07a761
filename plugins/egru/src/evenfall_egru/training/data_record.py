"""Which data a run was trained on: data.json in its folder, so that --resume can compare."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from evenfall.errors import shorten
from evenfall.files import write_json
from evenfall.reading import read_json

FILE = "data.json"


def describe_text(text: str) -> dict[str, Any]:
    """Size and hash of a text."""
    content = text.encode("utf-8")
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def describe_arrays(*arrays: Any) -> dict[str, Any]:
    """Shapes and hash of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(memoryview(array).cast("B"))
    return {"shapes": [list(array.shape) for array in arrays], "sha256": digest.hexdigest()}


def compare_data(folder: Path, splits: dict[str, dict[str, Any]]) -> None:
    """Check that the run in a folder was trained on this data; a run without data.json passes.

    Raises:
        ValueError: a split differs, or data.json cannot be read.
    """
    if not (folder / FILE).is_file():
        return
    before = read_json(folder / FILE)
    for split, found in splits.items():
        known = before.get(split)
        if known is not None and known != found:
            raise ValueError(
                f"output {folder} contains a run on other data: {split} was {_short(known)}, and "
                f"is {_short(found)}; use the data of the run, or another output"
            )


def write_data(folder: Path, splits: dict[str, dict[str, Any]]) -> None:
    """Write data.json."""
    write_json(folder / FILE, splits)


def _short(split: Any) -> str:
    if not isinstance(split, dict):
        return shorten(split)
    size = split.get("bytes")
    words = f"{size:,} bytes" if isinstance(size, int) else shorten(split.get("shapes"))
    return f"{words} (sha256 {str(split.get('sha256'))[:8]})"
