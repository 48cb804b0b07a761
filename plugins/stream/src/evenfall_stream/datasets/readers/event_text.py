"""Events as text: a line for each, with commas, semicolons or spaces.

With a line of names first (t, x, y, p or others that `columns` knows), or without one in the two
orders in use: `t x y p`, as in the Event-Camera Dataset (Mueggler et al., 2017; t in seconds), and
`x,y,p,t`, as Metavision's metavision_file_to_csv writes (t in microseconds).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .columns import is_column, make_recording
from .recording import Recording
from .text import read_table

_ORDERS = (("t", "x", "y", "p"), ("x", "y", "p", "t"))


def read_event_text(path: Path) -> Recording:
    """Read the events of a text file.

    Raises:
        ValueError: it is not a table of numbers, or its columns cannot be told.
    """
    names, values = read_table(path, is_column)
    if names is not None:
        return make_recording({name: values[:, at] for at, name in enumerate(names)})
    if not len(values):
        return make_recording(dict.fromkeys("txyp", np.zeros(0, np.int64)))
    if values.shape[1] != 4:
        raise ValueError(
            f"events without a line of names must have 4 columns, got {values.shape[1]}"
        )
    fits = [order for order in _ORDERS if _fits(values, order)]
    if len(fits) != 1:
        orders = " or ".join(" ".join(order) for order in _ORDERS)
        raise ValueError(
            f"the columns {'may be either' if fits else 'are neither'} {orders}; "
            "write a first line of names, such as t,x,y,p"
        )
    return make_recording({name: values[:, at] for at, name in enumerate(fits[0])})


def _fits(values: np.ndarray, order: tuple[str, ...]) -> bool:
    """Times do not decrease, polarities are two values, coordinates are whole."""
    columns = dict(zip(order, values.T, strict=True))
    polarities = set(np.unique(columns["p"]).tolist())
    return (
        bool((np.diff(columns["t"]) >= 0).all())
        and (polarities <= {0, 1} or polarities <= {-1, 1})
        and all(bool(((columns[n] >= 0) & (columns[n] % 1 == 0)).all()) for n in "xy")
    )
