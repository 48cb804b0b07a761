"""Train the published size of STREAM, 12 blocks of 384, on ModelNet10 for a given time."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch_geometric.loader import DataLoader

from evenfall_stream.training import Recipe, train
from evenfall_stream.training.build import MODELS, make_model
from evenfall_stream.training.data import Examples, ShuffledBatches, class_names, open_dataset
from evenfall_stream.training.evaluation import evaluate_recipe, logits

PUBLISHED = Recipe(
    dataset="modelnet10",
    train_split="train+valid",
    valid_split=None,
    model_options={
        "width": 384, "depth": 12, "groups": 64, "neighbors": 32, "d_state": 16,
        "pooling": "meanmax", "dropout": 0.5, "drop_path": 0.3,
    },
    augmentation=[{"RandomAnisotropicScale": {}}, {"RandomShift": {"most": 0.2}}],
    learning_rate=3e-4,
    warmup_epochs=2,
    label_smoothing=0.1,
    mixed_precision="bf16",
    seed=1,
)  # fmt: skip
TINY = replace(
    PUBLISHED,
    model_options={"width": 12, "depth": 1, "groups": 4, "neighbors": 4, "d_state": 2},
    batch_size=4,
    warmup_epochs=0,
    mixed_precision="no",
)
FOLDER = "modelnet10_1024pts"
FILE = "modelnet10_1024_int16.npz"
_EPOCH_OVER_STEPS = 1.15  # reading and the checkpoint come on top of the steps


def write_tiny_data(folder: Path) -> None:
    """A file of 24 clouds of 12 points to train on and 8 to test, in two classes."""
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {"classes": np.array(["cup", "pot"])}
    for part, count in (("train", 24), ("test", 8)):
        arrays[f"points_{part}"] = random.integers(-99, 99, (count, 12, 3)).astype(np.int16)
        arrays[f"label_{part}"] = (np.arange(count) % 2).astype(np.uint8)
        arrays[f"model_id_{part}"] = np.arange(count).astype(np.uint16)
    np.savez(folder / FILE, **arrays)


def step_seconds(recipe: Recipe, data: Path) -> tuple[float, int, int]:
    """Median seconds of a training step of a dozen, steps an epoch and the model's parameters."""
    training = open_dataset(recipe.dataset, data, recipe.train_split, **recipe.dataset_options)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = make_model(str(recipe.model), recipe.model_options, class_names(training)).to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    examples = Examples(training, recipe.at_training(), recipe.seed)
    sampler = ShuffledBatches(len(examples), recipe.batch_size, recipe.seed)
    loader, taken = iter(DataLoader(examples, batch_sampler=sampler)), []
    for _ in range(min(12, len(sampler))):
        begin = time.perf_counter()
        batch = next(loader).to(device)
        with torch.autocast(device, torch.bfloat16, enabled=recipe.mixed_precision == "bf16"):
            out = logits(model, batch)
        F.cross_entropy(out.float(), batch.y).backward()
        optimizer.step()
        optimizer.zero_grad()
        float(out.detach().sum())  # waits for the device
        taken.append(time.perf_counter() - begin)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return statistics.median(taken), len(sampler), parameters


def train_for(recipe: Recipe, data: Path, seconds: float) -> dict[str, Any]:
    """Train for as many whole epochs as fit, at least one, so that the learning rate ends low.

    Args:
        recipe: everything but the number of epochs.
        data: folder or file of the data set.
        seconds: how long training may take, by a dozen steps' measure.

    Returns:
        A row: parameters, epochs, seconds, clouds per second, and accuracy on all test clouds of
        the model after the last epoch.
    """
    step, steps, parameters = step_seconds(recipe, data)
    epochs = max(1 + recipe.warmup_epochs, int(seconds / (step * steps * _EPOCH_OVER_STEPS)))
    recipe = replace(recipe, epochs=epochs)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        last = train(recipe, data, Path(folder) / "run")
        taken = time.perf_counter() - begin
        model = MODELS[str(recipe.model)].from_pretrained(last)
        found = evaluate_recipe(model, recipe, data, "test")
    return {
        "part": "stream training", "width": recipe.model_options["width"],
        "depth": recipe.model_options["depth"], "parameters": parameters, "epochs": epochs,
        "seconds": taken, "clouds_per_second": epochs * steps * recipe.batch_size / taken,
        "test_clouds": found["examples"], "test_accuracy": found["accuracy"],
        "mean_class_accuracy": found["mean_class_accuracy"],
    }  # fmt: skip
