"""Small data, recipes and processes for the parts."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from evenfall.graph import Dense, Graph, If, Input, Readout

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
CLASSES = """
model: {hidden_sizes: [16]}
dataset_options: {pixels: 56}
epochs: 2
batch_size: 16
"""
BLOCKS = """
data: mnist
model: mlp
model_options: {width: 16, depth: 3}
boundaries: ['1', '2']
blocks: 3
options: {latent: 8, hidden: 16}
epochs: 2
batch_size: 32
learning_rate: 1e-2
"""
GRID = """
recipe: egru.yaml
values: {learning_rate: [5e-3, 1e-2]}
seeds: [0]
splits: [valid]
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


def digits(folder: Path) -> Path:
    """A folder in the form of MNIST: images with a brighter column for each label. The last 5,000
    training images are EGRU's validation split."""
    place = folder / "mnist"
    place.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", 5_064), ("t10k", 32)):
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        images = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        images[np.arange(count), :, labels] += 150
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
            packed = gzip.compress(header + values.tobytes())
            (place / f"{split}-{name}-ubyte.gz").write_bytes(packed)
    return folder


def state(path: Path) -> Path:
    """Random weights in the form of the EvNN library, for the vocabulary of `corpus`: 40 words,
    the end of a line and an unknown word."""
    import torch

    torch.manual_seed(0)
    words, units = 42, 12
    embedding = torch.randn(words, units)
    layer = {
        "kernel": torch.randn(units, 3 * units), "recurrent_kernel": torch.randn(units, 3 * units),
        "bias": torch.zeros(3 * units), "recurrent_bias": torch.zeros(3 * units),
        "thr": torch.rand(units), "_max_norm": torch.ones(1),
        "dampening_factor": torch.tensor([0.7]), "pseudo_derivative_support": torch.tensor([3.6]),
    }  # fmt: skip
    torch.save(
        {
            "embeddings.weight": embedding, "decoder.decoder.weight": embedding.clone(),
            "decoder.decoder.bias": torch.zeros(words),
        } | {f"rnns.0.{name}": value for name, value in layer.items()},
        path,
    )  # fmt: skip
    return path


def steps(path: Path) -> Path:
    """Ids of 400 tokens."""
    np.save(path, np.arange(400) % 40)
    return path


def spiking(folder: Path) -> Path:
    """The graph of a layer of 40 spiking units."""
    rng = np.random.default_rng(0)
    layers = {
        "input": Input((40,), "events"),
        "dense": Dense(rng.standard_normal((40, 40)), np.zeros(40)),
        "units": If(np.ones(40), np.ones(40), np.zeros(40)),
        "output": Readout(),
    }
    return Graph(layers, tuple(itertools.pairwise(layers))).save(folder)


def blocks_grid(folder: Path) -> Path:
    """The results of a grid over numbers of blocks."""
    folder.mkdir()
    cells = [
        {"cell": f"c{number}", "changes": {"rule": "bll", "blocks": number},
         "figures": {"test": {"accuracy": {"values": [0.5 + number / 100]}}}}
        for number in (1, 2, 4)
    ]  # fmt: skip
    write(folder / "grid.json", json.dumps({"cells": cells}))
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


def run(*arguments: Any, **variables: str) -> None:
    """Run `evenfall ARGUMENTS`; it must succeed."""
    with tempfile.TemporaryFile() as log:
        status = start(list(arguments), log, **variables).wait()
        log.seek(0)
        assert status == 0, (arguments, log.read().decode("utf-8", "replace"))


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
        elif path.suffix == ".npz":
            return zipfile.ZipFile(path).testzip() is None
        elif path.suffix in (".html", ".csv", ".md", ".py"):
            return path.read_bytes().endswith(b"\n")
    except FileNotFoundError:
        return True  # removed meanwhile
    except Exception:
        return False
    return True
