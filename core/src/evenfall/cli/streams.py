"""Standard output for one document alone: what anything else writes meanwhile goes to stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def output_to_errors() -> Iterator[None]:
    """Send everything that is written to standard output to standard error, in this block.

    A plugin, a host or a program that they start may print while it is imported. That would corrupt
    JSON on standard output. This covers `print`, libraries in C and child processes.
    """
    with contextlib.redirect_stdout(sys.stderr), _descriptor(1, 2):
        yield


def send_output_to_errors() -> None:
    """Send everything that this process still writes to standard output to standard error."""
    with contextlib.suppress(OSError, ValueError):  # a full disk or a closed stream
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.dup2(2, 1)
    sys.stdout = sys.stderr


@contextlib.contextmanager
def _descriptor(which: int, other: int) -> Iterator[None]:
    """Make the file descriptor `which` a copy of `other`; nothing if one of them is closed."""
    try:
        saved = os.dup(which)
    except OSError:
        yield
        return
    try:
        with contextlib.suppress(OSError):
            os.dup2(other, which)
        yield
    finally:
        os.dup2(saved, which)
        os.close(saved)
