"""How a run tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (what is under way, how much of it is done, how much there is)."""
