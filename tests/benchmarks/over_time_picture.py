"""docs/images/over-time.png: four digits of N-MNIST one after the other, classified in windows.

python tests/benchmarks/over_time_picture.py DATA      # a folder with NMNISTsmall.tar.gz
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from evenfall_stream.datasets import NMNIST
from evenfall_stream.inference import FilePredictor, Settings
from evenfall_stream.models.loading import load_checkpoint
from evenfall_stream.pictures.over_time import draw_over_time

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURE = REPOSITORY / "docs" / "images" / "over-time.png"
CHECKPOINT = REPOSITORY / "hub_cards" / "stream-nmnist-small"
DIGITS = (7, 2, 1, 4)
APART = 400_000
"""Microseconds from the start of a digit to that of the next; each takes about 300 ms."""


def draw(data: str, path: Path) -> Path:
    """Write the picture."""
    test = NMNIST(data, "test")
    first = [test.labels.tolist().index(digit) for digit in DIGITS]
    recordings = [test.recording(index)[0] for index in first]
    columns = {
        name: np.concatenate([getattr(one, name) for one in recordings]) for name in ("x", "y", "p")
    }
    t = np.concatenate([one.t + APART * number for number, one in enumerate(recordings)])
    model = load_checkpoint(CHECKPOINT, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{' '.join(map(str, DIGITS))}.npz")
        np.savez(file, t=t, **columns)
        found = FilePredictor(model, Settings(window=100, hop=50)).predict(file)
    return draw_over_time(found, list(model.class_names or []), path)


if __name__ == "__main__":
    print(draw(sys.argv[1], PICTURE))
