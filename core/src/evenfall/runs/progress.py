"""The type of the functions that report progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (name of the task, steps done, total steps)."""
