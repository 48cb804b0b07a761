"""Ten recordings a class of N-MNIST's subset as a folder, and what a nearest neighbour makes of it.

    python tests/benchmarks/ten_recordings.py DATA OUT     # DATA has NMNISTsmall.tar.gz
    evenfall stream train recordings --data OUT --output runs/ten --seed 0
    evenfall stream evaluate runs/ten/best --data OUT --split test

OUT/train has the ten training recordings of each class with the lowest numbers, OUT/valid five of
the validation split, OUT/test the official 100.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from evenfall_stream.datasets import NMNIST, RecordingFolder
from evenfall_stream.training import load_recipe
from evenfall_stream.training.nearest import nearest_neighbour

MOST = {"train": 10, "valid": 5, "test": 1000}


def write(data: str, out: Path) -> None:
    """Write the folder."""
    for split, most in MOST.items():
        counts: Counter[int] = Counter()
        samples = NMNIST(data, split)._samples
        if split == "valid":
            samples = sorted(samples, key=lambda one: str(one.id))
        for sample in samples:
            if counts[sample.label] < most:
                counts[sample.label] += 1
                file = out / split / str(sample.label) / f"{sample.id}.bs2"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(sample.raw)


def compare(out: Path) -> None:
    """Print the nearest neighbour's accuracy on valid and test."""
    training = RecordingFolder(out, "train")
    recipe = load_recipe("recordings").filled(training)
    for split in ("valid", "test"):
        print(split, nearest_neighbour(recipe, training, RecordingFolder(out, split)))


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
    compare(Path(sys.argv[2]))
