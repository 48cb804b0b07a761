"""Networks that classify, on the chip, beside PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from evenfall_egru import EgruForSequenceClassification
from evenfall_egru.evaluation.accuracy import evaluate_frames
from evenfall_egru.sequences import read_frames, read_mnist
from evenfall_spinnaker2 import Emulator, compile

from .agreement import agreement


def mlp(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """A dense network, trained on MNIST's training images, with int8 weights and activations."""
    torch.manual_seed(0)
    train = read_frames("mnist", options.data / "mnist", "train", {"pixels": 784})
    x, labels = train.x[:, 0], train.labels
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 128), torch.nn.ReLU(),
        torch.nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(6):
        for rows in torch.randperm(len(x)).split(128):
            loss = F.cross_entropy(model(x[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    test = read_mnist(options.data / "mnist", "test", pixels=784)
    images = test.images.astype(np.float32) / np.float32(255)
    with torch.no_grad():
        wanted = model(torch.from_numpy(images)).argmax(1).numpy()
    settings = {"precision": "int8", "calibration": x[:1000].numpy()}
    emulator = Emulator(compile(model.eval(), folder / "mlp", **settings))
    got = next(iter(emulator.run(images).outputs.values())).argmax(1)
    yield {
        "part": "mlp", "images": len(got),
        **agreement(wanted, got, test.labels),
        "PEs": len(emulator.image.blobs),
    }  # fmt: skip


def classifier(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """Trained EGRUs on all test images of MNIST."""
    for number, run_folder in enumerate(options.classifier):
        yield from _classifier(run_folder, options.data, folder / str(number))


def _classifier(run_folder: Path, data: Path, folder: Path) -> Iterator[dict[str, Any]]:
    model = EgruForSequenceClassification.from_pretrained(run_folder / "best").eval()
    pixels = {"pixels": model.config.embedding_size}
    frames = read_frames("mnist", data / "mnist", "test", pixels)
    wanted = evaluate_frames(model, frames)
    for precision in ("auto", "int8"):
        emulator = Emulator(compile(model, folder / precision, precision=precision))
        choices, operations = [], 0.0
        for x in frames.x.numpy():
            emulator.reset()
            run = emulator.run(x)
            choices.append(int(next(iter(run.outputs.values())).argmax()))
            operations += float(run.operations.mean())
        yield {
            "part": "classifier", "model": f"{pixels['pixels']} pixels a step",
            "weights": precision, "units": model.config.hidden_sizes, "images": len(choices),
            **agreement(wanted["predictions"], choices, frames.labels),
            "activity": wanted["activity"][0], "operations a step": operations / len(choices),
            "PEs": len(emulator.image.blobs),
        }  # fmt: skip
