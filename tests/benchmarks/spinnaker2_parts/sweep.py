"""Random EGRU language models, and what compiling them costs; imports no PyTorch.

P parameters of the layers on the chip
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from timing import peak_mib

from evenfall.graph import Dense, Egru, Embedding, Graph, Input, Readout
from evenfall_spinnaker2 import check, compile
from evenfall_spinnaker2.image.folder import read_manifest

SWEEP = (*(10 ** (5 + step / 2) for step in range(7)), 2.5e8)
LAYERS = 4


def graph(
    embedding_size: int, hidden_sizes: tuple[int, ...], density: float, vocabulary: int = 10_000
) -> Graph:
    """An EGRU language model with random weights; of those on the chip, a share `density` is not
    zero."""
    rng = np.random.default_rng(0)

    def matrix(rows: int, columns: int) -> Any:
        values = rng.standard_normal((rows, columns), np.float32)
        values *= np.float32(1 / np.sqrt(rows * density))
        if density < 1:
            values[rng.random((rows, columns), np.float32) >= density] = 0
        return values

    def table(width: int) -> Any:
        return rng.standard_normal((vocabulary, width), np.float32)

    layers: dict[str, Any] = {
        "tokens": Input((vocabulary,), "tokens"), "embed": Embedding(table(embedding_size)),
    }  # fmt: skip
    inputs = embedding_size
    for number, units in enumerate(hidden_sizes):
        zeros = np.zeros(3 * units, np.float32)
        threshold = np.full(units, 0.05, np.float32)
        layers[f"layer{number}"] = Egru(
            matrix(inputs, 3 * units), matrix(units, 3 * units), zeros, zeros, threshold
        )
        inputs = units
    layers |= {"head": Dense(table(inputs), np.zeros(vocabulary, np.float32)), "logits": Readout()}
    names = list(layers)
    return Graph(layers, tuple(pairwise(names)))


def sweep(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """What it takes to compile EGRUs of four layers in bf16, a process each."""
    for parameters in SWEEP[: 2 if options.quick else None]:
        script = Path(__file__).parents[1] / "spinnaker2.py"
        done = subprocess.run(
            [sys.executable, script, "child", str(round(parameters))],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        yield {"part": "sweep"} | json.loads(done.stdout.splitlines()[-1])


def child(parameters: int) -> dict[str, Any]:
    """Compile one network of about that many parameters in the layers on the chip."""
    units = round((parameters / (6 * LAYERS)) ** 0.5)
    network = graph(units, (units,) * LAYERS, 1.0, vocabulary=16)
    count = sum(
        layer.kernel.size + layer.recurrent_kernel.size
        for layer in network.layers.values()
        if isinstance(layer, Egru)
    )
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        image = compile(network, Path(folder) / "image", precision="bf16", board="48")
        seconds = time.process_time() - started
        manifest = read_manifest(image)
        size = sum(row["bytes"] for row in manifest["files"].values())
    found = check(network, precision="bf16", board="48")
    return {
        "parameters": count, "PEs": found.pes, "chips": found.chips, "CPU seconds": seconds,
        "peak MiB": round(peak_mib()), "image MiB": size / 2**20,
        "router entries": found.router_entries,
        "packets a step on the busiest link": found.packets_per_tick,
    }  # fmt: skip
