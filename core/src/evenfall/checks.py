"""Checks of single values, such as those of recipes; every error names the value."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Real
from typing import Any

from evenfall.errors import shorten

_KINDS: dict[type, str] = {str: "a string", dict: "a mapping", list: "a list"}


def check_integer(name: str, value: Any, least: int, below: float = math.inf) -> None:
    """Raise ValueError unless the value is an integer of at least `least` and below `below`."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < below:
        limit = "" if below == math.inf else f" and below {below}"
        raise ValueError(
            f"{name} must be an integer of at least {least}{limit}, got {shorten(value)}"
        )


def check_number(
    name: str,
    value: Any,
    least: float = 0.0,
    below: float = math.inf,
    *,
    above: bool = False,
    or_none: bool = False,
) -> None:
    """Raise ValueError unless the value is a number of at least `least`, or more than it with
    `above`, and below `below`; or None with `or_none`."""
    if or_none and value is None:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not least <= value < below or (above and value == least):
        low = f"more than {least:g}" if above else f"at least {least:g}"
        limit = "finite" if below == math.inf else f"below {below:g}"
        null = ", or null" if or_none else ""
        raise ValueError(f"{name} must be {low} and {limit}{null}, got {shorten(value)}")


def check_share(name: str, value: Any) -> None:
    """Raise ValueError unless the value is a number from 0 to 1."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1:
        raise ValueError(f"{name} must be from 0 to 1, got {shorten(value)}")


def check_flag(name: str, value: Any) -> None:
    """Raise ValueError unless the value is true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {shorten(value)}")


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {shorten(value)}")


def check_type(name: str, value: Any, kind: type) -> None:
    """Raise ValueError unless the value is a string, mapping or list, as `kind` says."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {_KINDS[kind]}, got {shorten(value)}")
