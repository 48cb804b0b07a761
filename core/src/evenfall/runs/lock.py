"""A lock, so that only one process writes to the folder of a run."""

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
except ImportError:  # Windows has no flock; there, runs are not locked
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

LOCK = ".lock"
_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock the folder during the block; the folder is made if it does not exist.

    The operating system releases the lock when the process ends, even if it is killed and processes
    that it forked still run. A folder that is empty when the block ends is removed.

    Raises:
        BlockingIOError: another process writes to the folder; the message names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = _acquire(folder / LOCK)
    _held.add(file)
    try:
        yield
    finally:
        if file in _held:  # not in a forked process
            _held.discard(file)
            (folder / LOCK).unlink(missing_ok=True)
            file.close()
            with suppress(OSError):
                folder.rmdir()


_held: set[IO[str]] = set()


def _let_go() -> None:
    """In a forked process: close the files, or it would hold the locks after its parent's end."""
    while _held:
        _held.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


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
        file.close()  # its owner removed it between open and lock; try again


def _lock(file: IO[str]) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        logger.warning("%s: the file system has no locks; do not start a second run", file.name)


def _owner(text: str) -> str:
    try:
        owner = json.loads(text)
        return f"process {owner['process']} on {owner['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def is_first_rank() -> bool:
    """Whether this process is the only one or the first rank of torchrun."""
    return os.environ.get("RANK", "0") == "0"
