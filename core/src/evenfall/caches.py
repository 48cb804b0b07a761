"""The user's caches of Evenfall: what can be made again, outside of every installation."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

MACHINE_CODE = "NUMBA_CACHE_DIR"
"""The variable that puts machine code elsewhere; it is Numba's own."""
_KEPT = 8


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/evenfall`, by default `~/.cache/evenfall`.

    Raises:
        RuntimeError: the user has no home folder.
    """
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "evenfall"


def machine_code_folder() -> Path | None:
    """The folder of compiled CPU kernels; None if the user has no home folder."""
    chosen = os.environ.get(MACHINE_CODE)
    if chosen:
        return Path(chosen)
    try:
        return cache_folder() / "machine-code"
    except RuntimeError:
        return None


def versioned_folder(parent: Path, name: str, digest: str) -> Path | None:
    """The folder `name-digest` in `parent`, made if needed; None if it is not writable.

    A digest stands for one version of the sources. The eight versions of a name that were used last
    are kept, the others are deleted.
    """
    folder = parent / f"{name}-{digest}"
    try:
        is_new = not folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
    except OSError:
        return None
    if not os.access(folder, os.W_OK | os.X_OK):
        return None
    if is_new:
        _delete_oldest(parent, name, len(digest))
    return folder


def _delete_oldest(parent: Path, name: str, length: int) -> None:
    found = []
    for one in parent.glob(f"{name}-{'?' * length}"):
        with suppress(OSError):  # another process has just deleted it
            found.append((one.stat().st_mtime, one))
    for _, one in sorted(found)[:-_KEPT]:
        shutil.rmtree(one, ignore_errors=True)
