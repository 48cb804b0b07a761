"""A training run: epochs, a checkpoint after each, and the result of the last one."""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from evenfall.files import write_text, written_aside
from evenfall.runs import Progress, RunFolder, read_state, write_state

from ..diagnostics import align_gradients, probe_blocks
from ..local import BlockLocal
from ..saving import save_local
from .data import Images, open_images
from .networks import make_network
from .recipe import Recipe

logger = logging.getLogger(__name__)

RESULT = "result.json"
_WARM_UP = 0.3
_PROBED = 2000
"""Images of each split that the linear probes see."""


def train(
    recipe: Recipe,
    data: str | Path,
    output: str | Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train a model by a rule, and save it after the last epoch.

    The folder of the run contains recipe.yaml, log.jsonl, the last checkpoint, best/ with the model
    and its heads, and best/result.json. The test split is evaluated once, after the last epoch.
    Random numbers depend on the seed and the epoch alone, so a resumed run gives the same model.

    Args:
        recipe: every choice of the run.
        data: the folder of data sets.
        output: folder of the run.
        resume: continue the run in `output`, or start one if there is none.
        progress: called with (task, steps done, total).

    Returns:
        The folder of the trained model.

    Raises:
        FileExistsError: `output` contains a run and resume is off.
        BlockingIOError: another process writes to `output`.
        ValueError: the run in `output` has another recipe or a damaged checkpoint.
        FloatingPointError: a loss is not finite.
    """
    folder = RunFolder(output, recipe)
    with folder.open(resume=resume):
        if (folder.best / RESULT).is_file() and not folder.last_checkpoint():
            return folder.best
        images = open_images(recipe.data, data).limited(recipe.train_samples, recipe.test_samples)
        run = _Run(recipe, folder, images, progress)
        run.restore()
        while run.epoch < recipe.epochs:
            run.train_epoch()
        if not (folder.best / RESULT).is_file() or run.result()["epochs"] != recipe.epochs:
            run.save_best()
    return folder.best


def make_local(recipe: Recipe, images: Images) -> BlockLocal:
    """The model of a recipe, in blocks, with weights from the seed."""
    torch.manual_seed(recipe.seed)
    shape = tuple(images.train.shape[1:])
    model = make_network(recipe.model, shape, images.classes, **recipe.model_options)
    return BlockLocal(
        model,
        None if recipe.boundaries is not None else recipe.blocks,
        recipe.rule,
        boundaries=recipe.boundaries,
        balance=recipe.balance,  # type: ignore[arg-type]  # split_blocks checks it
        inputs=images.train[:2],
        **recipe.rule_options(),
    )


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 256) -> float:
    """The share of images that a model in eval mode classifies as labelled."""
    was_training = model.training
    model.eval()
    correct = 0
    for start in range(0, len(images), batch_size):
        found = model(images[start : start + batch_size]).argmax(1)
        correct += int((found == labels[start : start + batch_size]).sum())
    model.train(was_training)
    return correct / len(images)


def one_cycle(step: int, steps: int, peak: float) -> float:
    """The learning rate at a step: from peak / 25 to the peak, then to almost 0, as cosines."""
    rise = _WARM_UP * steps
    if step < rise:
        return peak / 25 + (peak - peak / 25) * (1 - math.cos(math.pi * step / rise)) / 2
    return peak * (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2


def _batches(images: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(images.split(256), labels.split(256), strict=True))


class _Run:
    def __init__(
        self, recipe: Recipe, folder: RunFolder, images: Images, progress: Progress | None
    ) -> None:
        self.recipe, self.folder, self.images, self.progress = recipe, folder, images, progress
        self.local = make_local(recipe, images)
        self.optimizer = torch.optim.AdamW(
            [p for p in self.local.parameters() if p.requires_grad],
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
        )
        self.epoch, self.seconds = 0, 0.0
        self.steps = max(len(images.train) // recipe.batch_size, 1)

    def train_epoch(self) -> None:
        """Train one epoch, then log it and write a checkpoint."""
        recipe, start = self.recipe, time.perf_counter()
        torch.manual_seed(recipe.seed * 1_000_003 + self.epoch + 1)
        order = torch.randperm(len(self.images.train))
        self.local.train()
        sums, correct = torch.zeros(len(self.local.split.blocks)), 0
        for step in range(self.steps):
            rows = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            losses, right = self._step(rows, self.epoch * self.steps + step)
            sums += losses
            correct += right
            if self.progress is not None:
                self.progress(f"epoch {self.epoch + 1} of {recipe.epochs}", step + 1, self.steps)
        self.epoch += 1
        self.seconds += time.perf_counter() - start
        losses = [round(value, 5) for value in (sums / self.steps).tolist()]
        if not all(map(math.isfinite, losses)):
            raise FloatingPointError(f"losses must be finite, got {losses} in epoch {self.epoch}")
        seen = self.steps * min(recipe.batch_size, len(order))
        line = {"epoch": self.epoch, "losses": losses, "accuracy": correct / seen}
        self.folder.log(line | {"seconds": round(time.perf_counter() - start, 2)})
        logger.info("epoch %d: accuracy %.4f, losses %s", self.epoch, correct / seen, losses)
        self._save_checkpoint()

    def _step(self, rows: Tensor, number: int) -> tuple[Tensor, int]:
        rate = one_cycle(number, self.recipe.epochs * self.steps, self.recipe.learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        labels = self.images.train_labels[rows]
        result = self.local(self.images.train[rows], target=labels)
        result.loss.backward()
        if self.recipe.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.local.parameters(), self.recipe.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        losses = torch.tensor([0.0 if x is None else float(x) for x in result.losses])
        return losses, int((result.output.argmax(1) == labels).sum())

    def save_best(self) -> None:
        """Evaluate the trained model and write best/."""
        local, images = self.local, self.images
        result: dict[str, Any] = {
            "rule": self.recipe.rule,
            "seed": self.recipe.seed,
            "epochs": self.epoch,
            "test_accuracy": accuracy(local.model, images.test, images.test_labels),
            "train_accuracy": accuracy(local.model, images.train, images.train_labels),
            "parameters": sum(p.numel() for p in local.model.parameters()),
            "head_parameters": local.head_parameters(),
            "seconds": round(self.seconds, 1),
            "probes": self._probes(),
            "alignment": self._alignment(),
        }
        with self.folder.new_best() as folder:
            save_local(local, folder)
            write_text(folder / RESULT, json.dumps(result, indent=2) + "\n")

    def _probes(self) -> list[float]:
        """Linear probes, fitted on training images and tested on test images."""
        images = self.images
        training = _batches(images.train[:_PROBED], images.train_labels[:_PROBED])
        held_out = _batches(images.test[:_PROBED], images.test_labels[:_PROBED])
        return [round(value, 4) for value in probe_blocks(self.local, training, held_out)]

    def _alignment(self) -> list[float | None]:
        """Alignment of the gradients of one batch; None for a block without gradient."""
        rows = slice(0, self.recipe.batch_size)
        found = align_gradients(
            self.local, self.images.train[rows], target=self.images.train_labels[rows]
        )
        return [None if math.isnan(value) else round(value, 4) for value in found]

    def result(self) -> dict[str, Any]:
        """The result of the saved model."""
        found: dict[str, Any] = json.loads((self.folder.best / RESULT).read_text("utf-8"))
        return found

    def restore(self) -> None:
        """Load the last checkpoint, if there is one."""
        last = self.folder.last_checkpoint(("weights.safetensors", "state.json"))
        if last is not None:
            try:
                weights: dict[str, Any] = load_file(last / "weights.safetensors")
                state = json.loads((last / "state.json").read_text("utf-8"))
                optimizer = read_state(last, "optimizer")
                self.local.load_state_dict(weights)
                self.optimizer.load_state_dict(optimizer)
            except (
                OSError, RuntimeError, ValueError, LookupError, TypeError, SafetensorError,
            ) as error:  # fmt: skip
                raise ValueError(f"checkpoint {last} cannot be read: {error}") from error
            self.epoch, self.seconds = state["epoch"], state["seconds"]
        self.folder.cut_log("epoch", self.epoch)

    def _save_checkpoint(self) -> None:
        tensors = {name: value.contiguous() for name, value in self.local.state_dict().items()}
        state = {"epoch": self.epoch, "seconds": self.seconds}
        with written_aside(self.folder.path / f"checkpoint-{self.epoch}", replace=True) as aside:
            save_file(tensors, aside / "weights.safetensors")
            write_state(aside, "optimizer", self.optimizer.state_dict())
            (aside / "state.json").write_text(json.dumps(state), encoding="utf-8")
        self.folder.remove_old_checkpoints()
