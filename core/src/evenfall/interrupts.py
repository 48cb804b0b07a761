"""Tell Ctrl-C from a KeyboardInterrupt that code raises itself, as a broken plugin may."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Interrupts:
    """A block that notes whether the user pressed Ctrl-C in it; `seen` says so.

    Python handles signals in its main thread alone, so there is nothing to note in another one.
    """

    def __init__(self) -> None:
        self.seen = False
        self._former: Any = None

    def __enter__(self) -> Interrupts:
        former = signal.getsignal(signal.SIGINT)
        if callable(former) and threading.current_thread() is threading.main_thread():
            self._former = former
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        # The block may have put another handler in place, which stays.
        if self._former is not None and signal.getsignal(signal.SIGINT) == self._note:
            signal.signal(signal.SIGINT, self._former)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        self._former(number, frame)
