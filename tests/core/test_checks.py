"""Checks of single values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from evenfall.checks import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_share,
    check_type,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("check", "value", "options", "message"),
    [
        (check_integer, 0, {"least": 1}, "size must be an integer of at least 1, got 0"),
        (check_integer, True, {"least": 1}, "size must be an integer of at least 1, got True"),
        (check_integer, 2.0, {"least": 1}, "size must be an integer of at least 1, got 2.0"),
        (
            check_integer, 9, {"least": 1, "below": 9},
            "size must be an integer of at least 1 and below 9, got 9",
        ),
        (check_number, -0.5, {}, "size must be at least 0 and finite, got -0.5"),
        (check_number, NAN, {}, "size must be at least 0 and finite, got nan"),
        (check_number, float("inf"), {}, "size must be at least 0 and finite, got inf"),
        (check_number, False, {}, "size must be at least 0 and finite, got False"),
        (check_number, "1", {}, "size must be at least 0 and finite, got '1'"),
        (check_number, None, {}, "size must be at least 0 and finite, got None"),
        (check_number, 0, {"above": True}, "size must be more than 0 and finite, got 0"),
        (
            check_number, 1.0, {"below": 1.0, "or_none": True},
            "size must be at least 0 and below 1, or null, got 1.0",
        ),
        (check_share, 1.5, {}, "size must be from 0 to 1, got 1.5"),
        (check_share, NAN, {}, "size must be from 0 to 1, got nan"),
        (check_share, True, {}, "size must be from 0 to 1, got True"),
        (check_share, "1", {}, "size must be from 0 to 1, got '1'"),
        (check_flag, 1, {}, "size must be true or false, got 1"),
        (check_choice, "c", {"choices": ("a", "b")}, "size must be one of a, b, got 'c'"),
        (check_choice, ["a"], {"choices": ("a", "b")}, r"size must be one of a, b, got ['a']"),
        (check_type, 3, {"kind": str}, "size must be a string, got 3"),
        (check_type, [1], {"kind": dict}, "size must be a mapping, got [1]"),
        (check_type, {}, {"kind": list}, "size must be a list, got {}"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    check: Callable[..., None], value: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check("size", value, **options)


def test_what_is_right_passes() -> None:
    check_integer("size", 1, 1)
    check_integer("size", 8, 1, 9)
    for value in (0, 0.0, 5, 1e300):
        check_number("size", value)
    check_number("size", None, or_none=True)
    check_number("size", 1e-300, above=True)
    for value in (0, 1, 0.5):
        check_share("size", value)
    check_flag("size", False)
    check_choice("size", "b", {"a": 1, "b": 2})
    check_type("size", {"a": 1}, dict)
