"""Event recordings as frames: the events of each time step, counted by polarity and pixel.

Dimensions: N events, T steps, R rows and C columns of pooled pixels, F = 2 R C features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evenfall import registry
from evenfall.checks import check_choice, check_integer, check_number
from evenfall.datasets import ArrayDataset, split_fold
from evenfall.errors import UnknownNameError, shorten

SPLITS = ("train", "valid", "train+valid", "test")
COUNTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "log": np.log1p,
    "clip": lambda counts: np.minimum(counts, 1),
    "count": lambda counts: counts,
}
"""What becomes of the number n of events: log(1 + n), 1 if there are any, or n."""
_VALID_SHARE = 8
"""With folds, one in this many recordings outside of the test fold is in `valid`."""
_MOST_NUMBERS = 2**24


class EventFrames:
    """One split in memory, as recordings; frames are made on access.

    Attributes:
        classes: their names.
        recordings: the examples, whose contents are "events".
    """

    def __init__(
        self, recordings: Sequence[Mapping[str, Any]], classes: Sequence[str],
        sensor: tuple[int, int], pool: int, steps: int, step_ms: float, counts: str,
    ) -> None:  # fmt: skip
        self.recordings, self.classes = recordings, tuple(classes)
        self.sensor, self.pool, self.steps, self.step_ms = sensor, pool, steps, step_ms
        self.scale = COUNTS[counts]

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """x (T, F) float32 and label, int64 of shape ()."""
        events = self.recordings[index]
        t, x, p = (np.asarray(events[name]) for name in ("t", "x", "p"))
        y = np.asarray(events["y"]) if "y" in events else np.zeros_like(x)
        width, height = self.sensor
        if len(x) and (x.max() >= width or y.max() >= height or min(x.min(), y.min()) < 0):
            raise ValueError(
                f"sensor must contain every event, got {list(self.sensor)} for columns up to "
                f"{x.max()} and rows up to {y.max()}"
            )
        step = ((t - t[:1]) / (1000 * self.step_ms)).astype(np.int64)
        rows, columns = (-(-size // self.pool) for size in (height, width))
        pixel = (p * rows + y // self.pool) * columns + x // self.pool
        features = 2 * rows * columns
        kept = step < self.steps
        counts = np.bincount(
            (step * features + pixel)[kept], minlength=self.steps * features
        ).reshape(self.steps, features)
        return {"x": self.scale(counts).astype(np.float32), "label": events["label"]}


def read_event_frames(
    path: str | Path,
    split: str,
    *,
    events: str = "nmnist",
    sensor: Sequence[int] = (34, 34),
    pool: int = 2,
    steps: int = 30,
    step_ms: float = 10.0,
    counts: str = "log",
    folds: int | None = None,
    fold: int = 0,
) -> EventFrames:
    r"""Open one split of a data set of events as frames.

    Frame t counts the events in [t, t + 1) steps after the first one of the recording; events after
    the last frame are left out. Feature (p R + r) C + c counts those of polarity p in the square of
    `pool` by `pool` pixels at row r and column c.

    Without `folds`, the splits are those of the data set. With `folds`, its recordings for
    training, validation and test are put together: `test` is the fold, see
    `evenfall.datasets.split_fold`; of the others, every eighth is in `valid`, the rest in `train`.

    Args:
        path: folder or file of the data set.
        split: "train", "valid", "train+valid" or "test".
        events: the registered name of a data set of events.
        sensor: columns and rows of the sensor; [channels, 1] without rows.
        pool: side of a square of pixels, which become one.
        steps: T.
        step_ms: length of a step in milliseconds.
        counts: what becomes of the number n of events: "log" is log(1 + n), "clip" is 1 if there
            are any, "count" is n.
        folds, fold: number of folds, and the one to test on.

    Raises:
        UnknownNameError: no installed plugin reads this data set.
        FileNotFoundError: the data is not found.
        ValueError: another split, an option out of range, or a data set without events.
    """
    check_choice("split", split, SPLITS)
    _check(sensor, pool, steps, step_ms, counts)
    read = _reader(events)
    if folds is None:
        opened = [read(path, split)]
    else:
        opened = [read(path, part) for part in ("train+valid", "test")]
    recordings = [one[index] for one in opened for index in range(len(one))]
    if folds is not None:
        rows = _rows(len(recordings), folds, fold, split)
        recordings = [recordings[row] for row in rows]
    size = (int(sensor[0]), int(sensor[1]))
    return EventFrames(recordings, opened[0].classes, size, pool, steps, step_ms, counts)


def _reader(name: str) -> Callable[[str | Path, str], ArrayDataset]:
    try:
        contents = registry.datasets.provenance(name).metadata.get("contents")
    except UnknownNameError as error:
        raise UnknownNameError(
            f"event-frames: no installed plugin reads the events of {shorten(name)}; "
            f"evenfall-stream reads 'nmnist' and others. {error}"
        ) from error
    if contents != "events":
        raise ValueError(f"events must name a data set of events, got {shorten(name)}: {contents}")
    return registry.datasets.get(name)


def _check(sensor: Sequence[int], pool: int, steps: int, step_ms: float, counts: str) -> None:
    sizes = list(sensor) if isinstance(sensor, list | tuple) else []
    if len(sizes) != 2:
        raise ValueError(f"sensor must be two sizes of at least 1, got {shorten(sensor)}")
    for size in sizes:
        check_integer("sensor", size, 1)
    check_integer("pool", pool, 1)
    check_integer("steps", steps, 1)
    check_number("step_ms", step_ms, above=True)
    check_choice("counts", counts, COUNTS)
    numbers = 2 * steps * -(-sizes[0] // pool) * -(-sizes[1] // pool)
    if numbers > _MOST_NUMBERS:
        raise ValueError(
            f"a recording must have at most {_MOST_NUMBERS} counts, got {shorten(numbers)}: take "
            "fewer steps, or a larger pool"
        )


def _rows(count: int, folds: int, fold: int, split: str) -> list[int]:
    """The recordings of a split, in a fixed random order."""
    others, held = split_fold(count, folds, fold)
    if split == "test":
        return held
    if split == "train+valid":
        return others
    return [row for i, row in enumerate(others) if (i % _VALID_SHARE == 0) == (split == "valid")]
