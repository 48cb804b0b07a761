"""Commands that need an extra of the distribution."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from ..extras import require
from .common import clear_errors


def needs(extra: str, command: Callable[..., None]) -> Callable[..., None]:
    """The same command, which is one error line where the extra is not installed."""

    @wraps(command)
    def checked(*args: Any, **kwargs: Any) -> None:
        with clear_errors():
            require(extra, f"evenfall stream {command.__name__}")
        command(*args, **kwargs)

    return checked
