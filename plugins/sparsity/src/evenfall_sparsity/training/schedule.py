"""When and how much is removed during training."""

from __future__ import annotations

import math

from evenfall.errors import shorten


def cubic(step: int, begin: int, end: int, initial: float, final: float) -> float:
    r"""The share of removed weights after a step.

    .. math:: s_t = s_f + (s_i - s_f) \left(1 - \frac{t - t_0}{t_1 - t_0}\right)^3

    from t_0 = begin to t_1 = end, constant before and after.

    Source: Zhu and Gupta 2017, arXiv 1710.01878.
    """
    if step >= end:
        return final
    left = 1 - max(step - begin, 0) / (end - begin)
    return final + (initial - final) * left**3


def steps_of(value: float, total: int) -> int:
    """A point of a run in steps: up to 1 it is a share of all steps, above 1 a number of steps."""
    return round(value * total) if value <= 1 else round(value)


def ramp(begin: float, end: float, total: int) -> tuple[int, int]:
    """The steps at which a ramp begins and ends.

    Raises:
        ValueError: it begins after its end, or ends after the run.
    """
    first, last = steps_of(begin, total), steps_of(end, total)
    if not first <= last <= total:
        raise ValueError(
            f"begin {shorten(begin)} and end {shorten(end)} are steps {first} and {last} of a "
            f"run of {total}; "
            "they must be in this order and within the run"
        )
    return first, last


def check_points(begin: float, end: float) -> None:
    """Raise a ValueError unless both are points of a run, in this order."""
    for name, value in (("begin", begin), ("end", end)):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value < 0:
            raise ValueError(
                f"{name} must be a share of all steps from 0 to 1, or a number of steps above 1, "
                f"got {shorten(value)}"
            )
    if (begin <= 1) == (end <= 1) and begin > end:
        raise ValueError(
            f"begin must not be later than end, got {shorten(begin)} and {shorten(end)}"
        )
