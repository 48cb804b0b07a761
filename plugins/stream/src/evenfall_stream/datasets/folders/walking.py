"""The files below a folder."""

from __future__ import annotations

import os
from pathlib import Path


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, sorted, also those behind links to folders; links to nothing too.

    Raises:
        OSError: a folder cannot be read.
        ValueError: a link leads to a folder that it is in.
    """
    found = []
    for place, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        for path in (Path(place, name) for name in folders):
            if path.is_symlink() and Path(place).resolve().is_relative_to(path.resolve()):
                raise ValueError(f"the link {path} leads to a folder that it is in")
        found += [
            path for name in files if (path := Path(place, name)).is_file() or path.is_symlink()
        ]
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error
