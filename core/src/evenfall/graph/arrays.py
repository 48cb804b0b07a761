"""Checks of the arrays and numbers of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenfall.errors import shorten

if TYPE_CHECKING:
    from numpy.typing import NDArray


def frozen(name: str, value: Any, ndim: int | None = None) -> NDArray[Any]:
    """A read-only float array, contiguous; float32 and float64 stay as they are.

    Raises:
        ValueError: not numbers, another number of axes, an empty array, NaN or infinity.
    """
    import numpy as np

    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name}: got dtype {array.dtype}, want numbers")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64 if array.dtype.kind in "iu" else np.float32)
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name}: got shape {array.shape}, want {ndim} axes")
    if array.size == 0:
        raise ValueError(f"{name}: got an empty array of shape {array.shape}")
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise ValueError(f"{name}: {count} of {array.size} values are NaN or infinite")
    is_ours = not array.flags.writeable and array.base is None and array.flags.c_contiguous
    if not is_ours and (array is value or not array.flags.c_contiguous or array.base is not None):
        array = np.array(array, order="C")
    array.flags.writeable = False
    return array


def want_shape(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise a ValueError unless `array` has this shape."""
    if array.shape != shape:
        raise ValueError(f"{name}: got shape {array.shape}, want {shape}")


def sizes(name: str, value: Any, count: int | None = None, least: int = 1) -> tuple[int, ...]:
    """A tuple of integers of at least `least`.

    Raises:
        ValueError: another number of them, or one that is no integer or too small.
    """
    try:
        found = tuple(int(one) for one in value)
    except (OverflowError, TypeError, ValueError):
        raise ValueError(f"{name}: got {shorten(value)}, want integers") from None
    if any(
        isinstance(one, bool) or size != one or size < least
        for one, size in zip(value, found, strict=True)
    ):
        raise ValueError(f"{name}: got {shorten(value)}, want integers of at least {least}")
    if not found or (count is not None and len(found) != count):
        raise ValueError(f"{name}: got {shorten(value)}, want {count or 'some'} integers")
    return found


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raise a ValueError unless `value` is one of the allowed words."""
    if value not in allowed:
        known = ", ".join(map(repr, allowed))
        raise ValueError(f"{name}: got {shorten(value)}, want one of {known}")
