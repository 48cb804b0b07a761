"""Events in HDF5: Prophesee's and Metavision's files, DSEC's, and those with an array a column.

    CD/events                  compound x, y, p, t              Metavision; Prophesee's data sets
    events/x, y, t, p          and t_offset, at the top         DSEC
    events/xs, ys, ts, ps      or any names that `columns` has, in `events` or at the top

Sources: https://docs.prophesee.ai/stable/data/file_formats/hdf5.html,
https://dsec.ifi.uzh.ch/data-format/.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ...extras import require
from .columns import make_recording, match_columns
from .limits import MOST_EVENTS, check_count
from .recording import Recording

_ECF = 0x8ECF
"""Number of Prophesee's filter, which has no package."""


def read_hdf5(path: Path) -> tuple[Recording, tuple[int, ...] | None]:
    """The events, and the size of the sensor if an attribute `geometry` states it.

    Raises:
        ImportError: h5py is not installed, or hdf5plugin for a compressed file.
        ValueError: there are no events, or a filter is missing.
    """
    require("io", str(path), "h5py")
    import h5py

    if find_spec("hdf5plugin") is not None:
        import hdf5plugin  # noqa: F401  # registers the filters
    with h5py.File(path, "r") as file:
        return _events(file, str(path)), _size(file)


def _events(file: Any, name: str) -> Recording:
    import h5py

    for place in ("CD/events", "events", "event_data"):
        found = file.get(place)
        if isinstance(found, h5py.Dataset) and found.dtype.names:
            values = _read(found, name)
            columns = {field: values[field] for field in found.dtype.names}
            return make_recording(_moved(columns, file))
    group = file["events"] if isinstance(file.get("events"), h5py.Group) else file
    arrays = {key: group[key] for key in group if isinstance(group.get(key), h5py.Dataset)}
    columns = {key: _read(arrays[key], name) for key in match_columns(arrays).values()}
    return make_recording(_moved(columns, group, file))


def _moved(columns: dict[str, np.ndarray], *groups: Any) -> dict[str, np.ndarray]:
    """The columns with the first t_offset of the groups, in the unit of the times, added to them.

    Raises:
        ValueError: it is not one number, or has a fraction and the times are integers.
    """
    offset = next((np.asarray(one["t_offset"][()]) for one in groups if "t_offset" in one), None)
    if offset is None:
        return columns
    name = match_columns(columns)["t"]
    kinds = "iu" if columns[name].dtype.kind in "iu" else "iuf"
    if offset.size != 1 or offset.dtype.kind not in kinds:
        raise ValueError(
            f"t_offset must be one number of the kind of {name!r}, {columns[name].dtype}, "
            f"got {offset.dtype} {offset.shape}"
        )
    wide = np.int64 if kinds == "iu" else np.float64
    return {**columns, name: columns[name].astype(wide) + offset.reshape(()).astype(wide)}


def _read(values: Any, name: str) -> np.ndarray:
    """The (N,) values of a data set."""
    if values.ndim != 1:
        raise ValueError(f"{values.name} must have shape (events,), got {values.shape}")
    check_count(values.shape[0], "events", MOST_EVENTS)
    plist = values.id.get_create_plist()
    filters = [plist.get_filter(at)[0] for at in range(plist.get_nfilters())]
    if _ECF in filters:
        raise ValueError(
            f"{values.name} is compressed with Prophesee's ECF; convert it with Metavision, or "
            "record .raw"
        )
    try:
        array: np.ndarray = values[()]
    except OSError as error:
        if any(one > 255 for one in filters):
            require("io", name, "hdf5plugin")
        raise ValueError(f"{values.name} cannot be read: {error}") from error
    return array


def _size(file: Any) -> tuple[int, ...] | None:
    text = file.attrs.get("geometry")
    text = text.decode("ascii", "replace") if isinstance(text, bytes) else str(text)
    match = re.fullmatch(r"\s*(\d{1,5})\s*x\s*(\d{1,5})\s*", text)
    return None if match is None else (int(match[1]), int(match[2]))
