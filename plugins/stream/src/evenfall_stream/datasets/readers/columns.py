"""Events from named columns, as in .npz, HDF5 and CSV files.

N events
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from evenfall.errors import shorten

from .limits import MOST_EVENTS, check_count
from .recording import Recording

NAMES = {
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps"),
    "x": ("x", "xs", "channel", "channels", "unit", "units"),
    "y": ("y", "ys"),
    "p": ("p", "ps", "pol", "polarity", "polarities", "on"),
}
"""The four arrays of a recording, and the names in use for each, in lower case."""
UNITS = {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6}
"""Microseconds of a unit. The name of a time may end in it, as in t_ms."""
_LONGEST = 86_400.0
"""Seconds: a longer recording shows that another unit is meant."""
_FARTHEST = 2.0**62


def match_columns(names: Iterable[str]) -> dict[str, str]:
    """The role of each name that is known: {"t": "timestamp", "x": "x", ...}.

    Raises:
        ValueError: t, x or p is missing, or two names have the same role.
    """
    names = list(names)
    found: dict[str, str] = {}
    for name in names:
        role = _role(name)
        if role is None:
            continue
        if role in found:
            raise ValueError(f"{found[role]!r} and {name!r} are both {role}")
        found[role] = name
    missing = [role for role in ("t", "x", "p") if role not in found]
    if missing:
        raise ValueError(
            f"it must have events as t, x, y (not for audio) and p, got {shorten(names)}; "
            f"{missing[0]} may be named {', '.join(NAMES[missing[0]])}"
        )
    return found


def is_column(name: str) -> bool:
    """Whether a name is one of those in `NAMES`, also with a unit."""
    return _role(name) is not None


def make_recording(columns: Mapping[str, np.ndarray]) -> Recording:
    """A recording from arrays of length N by name.

    Times are integers in microseconds; or floating-point numbers in seconds, if one of them has a
    fraction, else in microseconds; or in the unit in which the name ends: _s, _ms, _us or _ns.
    Polarities are 0 and 1, -1 and 1, or bool.

    Raises:
        ValueError: a column is missing or twice there, the lengths differ, a value is not a number,
            or the unit of time cannot be told.
    """
    found = match_columns(columns)
    arrays = {role: np.asarray(columns[name]) for role, name in found.items()}
    for role, array in arrays.items():
        if array.dtype.kind not in "biuf" or array.ndim != 1:
            raise ValueError(
                f"{found[role]!r} must be numbers of shape (events,), got {array.dtype} "
                f"{array.shape}"
            )
    check_count(max(map(len, arrays.values())), "events", MOST_EVENTS)
    y = _whole(arrays["y"], found["y"]) if "y" in arrays else None
    return Recording(
        _times(arrays["t"], found["t"]),
        _whole(arrays["x"], found["x"]),
        y,
        _polarities(arrays["p"], found["p"]),
    )


def _role(name: str) -> str | None:
    stem = name.strip().lower()
    base, _, unit = stem.rpartition("_")
    if unit in UNITS and base in NAMES["t"]:
        return "t"
    return next((role for role, known in NAMES.items() if stem in known), None)


def _times(values: np.ndarray, name: str) -> np.ndarray:
    if not (finite := np.isfinite(values)).all():
        at = int(finite.argmin())
        raise ValueError(f"{name!r} must be finite, got {values[at]} at event {at}")
    unit = name.strip().lower().rpartition("_")[2] if "_" in name else ""
    if unit in UNITS:
        factor = UNITS[unit]
    elif values.dtype.kind == "f" and bool((values % 1 != 0).any()):
        factor = UNITS["s"]
        if float(values.max() - values.min()) > _LONGEST:
            raise ValueError(
                f"{name!r} has fractions, but is too long for seconds: it spans "
                f"{float(values.max() - values.min()):g}; name it {name}_ms or {name}_us"
            )
    else:
        factor = 1.0
    if factor == 1.0 and values.dtype.kind in "iu":
        return _integers(values, name)
    scaled = np.round(values.astype(np.float64) * factor)
    if len(scaled) and float(np.abs(scaled).max()) > _FARTHEST:
        raise ValueError(f"{name!r} has times beyond 2**62 us")
    return scaled.astype(np.int64)


def _whole(values: np.ndarray, name: str) -> np.ndarray:
    """Coordinates and polarities: whole numbers, also as floating point."""
    if values.dtype.kind == "f":
        if not (inside := np.abs(values) < _FARTHEST).all():  # False for NaN too
            at = int(inside.argmin())
            raise ValueError(f"{name!r} must be finite, got {values[at]} at event {at}")
        if bool((values % 1 != 0).any()):
            at = int((values % 1 != 0).argmax())
            raise ValueError(f"{name!r} must be whole numbers, got {values[at]} at event {at}")
    return _integers(values, name)


def _integers(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind in "iu" and len(values):
        least, most = int(values.min()), int(values.max())
        if max(-least, most) > _FARTHEST:
            raise ValueError(f"{name!r} has values beyond 2**62, got {least} to {most}")
    return values.astype(np.int64)


def _polarities(values: np.ndarray, name: str) -> np.ndarray:
    """0 and 1; check_recording refuses other values than -1, 0 and 1."""
    whole = _whole(values, name)
    if len(whole) and int(whole.min()) == -1:
        if bool((whole == 0).any()):
            raise ValueError(f"{name!r} must be 0 and 1, or -1 and 1, got -1 and 0")
        return np.where(whole == -1, 0, whole)
    return whole
