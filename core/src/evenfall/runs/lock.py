"""One writer for a run's folder."""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows has no flock, and runs are not locked there
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

LOCK = ".lock"
_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the folder's lock file; the folder is made if it does not exist.

    The operating system releases the lock when the process ends, however it ends, so the lock of a
    dead process is no obstacle. A folder that is empty when the block ends is removed.

    Raises:
        BlockingIOError: another process writes to the folder; the message names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = _acquire(folder / LOCK)
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        file.close()
        with suppress(OSError):
            folder.rmdir()


def _acquire(path: Path) -> IO[str]:
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            _lock(file)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                file.truncate(0)
                file.write(json.dumps({"process": os.getpid(), "host": platform.node()}))
                file.flush()
                return file
        except BlockingIOError:
            file.seek(0)
            owner = _owner(file.read())
            file.close()
            raise BlockingIOError(f"output {path.parent} is in use by {owner}") from None
        except BaseException:
            file.close()
            raise
        file.close()  # its owner removed the file between our two steps


def _lock(file: IO[str]) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        logger.warning("%s: the file system has no locks; start no second run here", file.name)


def _owner(text: str) -> str:
    try:
        found = json.loads(text)
        return f"process {found['process']} on {found['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def is_first_rank() -> bool:
    """Whether this process is the only one, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"
