"""Small data, recipes and processes for the parts."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np

CARDS = Path(__file__).parents[3] / "hub_cards"
CARD = CARDS / "egru-ptb-small"

EGRU = """
model: {type: egru, embedding_size: 24, hidden_sizes: [32, 24], hidden_dropout: 0.2}
epochs: 4
batch_size: 4
window: 12
learning_rate: 5e-3
"""
STREAM = """
task: events
dataset: recordings
model: EventStreamClassifier
model_options: {frequencies: 2, widths: [8, 16], depths: [1, 1], strides: [4, 4], d_state: 4}
augmentation: [DropEvents: {p: [0.0, 0.4]}]
epochs: 6
batch_size: 4
learning_rate: 5e-3
"""
STUDY = """
trainer: egru
recipe: egru.yaml
models: {small: {changes: {epochs: 1}}}
level_changes: {epochs: 1}
levels: [0.5, 0.8]
methods:
  dense: []
  single: [gradual-pruning: {amount: "{level}"}]
lines:
  - {model: small, method: dense, seeds: [1]}
  - {model: small, method: single, seeds: [1]}
splits: [valid]
"""


def corpus(folder: Path, lines: int = 400) -> Path:
    """A text corpus of random sentences: train.txt, valid.txt and test.txt."""
    folder.mkdir()
    chance = random.Random(0)
    words = [f"w{number}" for number in range(40)]
    for split in ("train", "valid", "test"):
        count = lines if split == "train" else 40
        text = "\n".join(" ".join(chance.choices(words, k=10)) for _ in range(count))
        (folder / f"{split}.txt").write_text(text + "\n", encoding="utf-8")
    return folder


def recordings(folder: Path, each: int = 24) -> Path:
    """Event recordings of two classes: a spot that moves to the left, or to the right."""
    rng = np.random.default_rng(0)
    for name, way in (("left", -1), ("right", 1)):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            t = np.sort(rng.integers(0, 100_000, 200))
            x = np.clip(16 + way * (t - 50_000) // 4000 + rng.integers(-2, 3, 200), 0, 31)
            np.savez(folder / name / f"{number}.npz", t=t, x=x, y=rng.integers(12, 20, 200),
                     p=rng.integers(0, 2, 200))  # fmt: skip
    return folder


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def start(arguments: list[Any], output: IO[bytes] | int, **variables: str) -> Any:
    """Start `evenfall ARGUMENTS`; what it prints goes to `output`."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "evenfall", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"} | variables,
    )


def half_files(folder: Path) -> list[str]:
    """The files below `folder` that are not whole. Names that start with a dot are no results."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and not _is_whole(path)
    ]


def _is_whole(path: Path) -> bool:
    from safetensors.numpy import load_file

    try:
        if path.suffix == ".safetensors":
            load_file(path)
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".png":
            return path.read_bytes().endswith(b"IEND\xaeB`\x82")
    except FileNotFoundError:
        return True  # removed meanwhile
    except Exception:
        return False
    return True
