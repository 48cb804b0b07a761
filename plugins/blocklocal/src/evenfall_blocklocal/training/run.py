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

from evenfall.errors import CallbackError
from evenfall.files import write_json, written_aside
from evenfall.reading import read_json
from evenfall.runs import (
    Callbacks,
    Progress,
    RunFolder,
    TrainingContext,
    make_callbacks,
    read_state,
    write_state,
)

from ..diagnostics import align_gradients, probe_blocks
from ..local import BlockLocal
from ..saving import save_local
from .evaluation import batches, measure
from .networks import make_network
from .opening import open_source
from .recipe import Recipe
from .source import Part, Source

logger = logging.getLogger(__name__)

RESULT = "result.json"
_WARM_UP = 0.3
_PROBED = 2000
"""Samples of each part that the linear probes see."""
_PARTS: tuple[Part, Part] = ("test", "train")


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
        ValueError: the run in `output` has another recipe or a damaged checkpoint, or a result is
            not finite; the last checkpoint stays.
        FloatingPointError: a loss is not finite.
        CallbackError: a callback raises, or does not count the trained model as best.
    """
    callbacks = make_callbacks(recipe.callbacks)
    folder = RunFolder(output, recipe)
    with folder.open(resume=resume):
        if (folder.best / RESULT).is_file() and not folder.last_checkpoint():
            return folder.best
        run = _Run(recipe, folder, open_source(recipe, data), callbacks, progress)
        run.restore()
        while run.epoch < recipe.epochs:
            run.train_epoch()
        if not (folder.best / RESULT).is_file() or run.result()["epochs"] != recipe.epochs:
            run.save_best()
    return folder.best


def make_local(recipe: Recipe, source: Source, callbacks: Callbacks | None = None) -> BlockLocal:
    """The model of a recipe, in blocks, with weights from the seed, on the device of the source."""
    torch.manual_seed(recipe.seed)
    model = make_network(recipe.model, source, **recipe.model_options)
    model.to(source.device)
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)
    if callbacks is not None:
        callbacks.prepare(model)
    return BlockLocal(
        model,
        None if recipe.boundaries is not None else recipe.blocks,
        recipe.rule,
        boundaries=recipe.boundaries,
        balance=recipe.balance,  # type: ignore[arg-type]  # split_blocks checks it
        inputs=source.example(),
        tied=recipe.tied,  # type: ignore[arg-type]
        **recipe.rule_options(),
    )


def one_cycle(step: int, steps: int, peak: float) -> float:
    """The learning rate at a step: from peak / 25 to the peak, then to almost 0, as cosines."""
    rise = _WARM_UP * steps
    if step < rise:
        return peak / 25 + (peak - peak / 25) * (1 - math.cos(math.pi * step / rise)) / 2
    return peak * (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2


class _Run:
    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        source: Source,
        callbacks: Callbacks,
        progress: Progress | None,
    ) -> None:
        self.recipe, self.folder, self.source, self.progress = recipe, folder, source, progress
        self.callbacks = callbacks
        self.local = make_local(recipe, source, callbacks)
        self.optimizer = torch.optim.AdamW(
            [p for p in self.local.parameters() if p.requires_grad],
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
        )
        self.epoch, self.seconds = 0, 0.0
        self.steps = max(source.sizes["train"] // recipe.batch_size, 1)

    def train_epoch(self) -> None:
        """Train one epoch, then log it and write a checkpoint."""
        recipe, start = self.recipe, time.perf_counter()
        torch.manual_seed(recipe.seed * 1_000_003 + self.epoch + 1)
        order = torch.randperm(self.source.sizes["train"])
        self.local.train()
        sums, correct = torch.zeros(len(self.local.split.blocks)), 0
        for step in range(self.steps):
            rows = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            losses, right = self._step(rows, self.epoch * self.steps + step)
            sums += losses
            correct += right
            self.callbacks.on_step_end(self._context(step + 1))
            if self.progress is not None:
                self.progress(f"epoch {self.epoch + 1} of {recipe.epochs}", step + 1, self.steps)
        self.callbacks.on_epoch_end(self._context(self.steps))
        self.epoch += 1
        self.seconds += time.perf_counter() - start
        losses = [round(value, 5) for value in (sums / self.steps).tolist()]
        if not all(map(math.isfinite, losses)):
            raise FloatingPointError(f"losses must be finite, got {losses} in epoch {self.epoch}")
        line: dict[str, Any] = {"epoch": self.epoch, "losses": losses}
        if self.source.metric == "accuracy":
            line["accuracy"] = correct / (self.steps * min(recipe.batch_size, len(order)))
        else:
            line["perplexity"] = math.exp(min(losses[-1], 100))
        metric = self.source.metric
        logger.info("epoch %d: %s %.4f, losses %s", self.epoch, metric, line[metric], losses)
        self.folder.log(line | {"seconds": round(time.perf_counter() - start, 2)})
        self._save_checkpoint()

    def _step(self, rows: Tensor, number: int) -> tuple[Tensor, int]:
        rate = one_cycle(number, self.recipe.epochs * self.steps, self.recipe.learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = self.source.batch("train", rows)
        with torch.autocast(self.source.device.type, torch.bfloat16, enabled=self.recipe.bf16):
            result = self.local(*batch.args, target=batch.target, **batch.kwargs)
        result.loss.backward()
        if self.recipe.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.local.parameters(), self.recipe.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        losses = torch.tensor([0.0 if x is None else float(x) for x in result.losses])
        if self.source.metric != "accuracy":
            return losses, 0
        return losses, int((result.output.argmax(1) == batch.target).sum())

    def save_best(self) -> None:
        """Evaluate the trained model and write best/."""
        local, source = self.local, self.source
        batch_size = min(self.recipe.batch_size, 256)
        test, train = (measure(local.model, source, part, batch_size) for part in _PARTS)
        self.callbacks.on_evaluate(self._context(0, {source.metric: test}))
        objections = self.callbacks.objections()
        if objections:
            raise CallbackError(f"no best model: counts_as_best is False for {objections}")
        result: dict[str, Any] = {
            "rule": self.recipe.rule,
            "seed": self.recipe.seed,
            "epochs": self.epoch,
            "blocks": len(local.split.blocks),
            f"test_{source.metric}": test,
            f"train_{source.metric}": train,
            "parameters": sum(p.numel() for p in local.model.parameters()),
            "head_parameters": local.head_parameters(),
            "seconds": round(self.seconds, 1),
            "probes": self._probes(),
            "alignment": self._alignment(),
        }
        with self.folder.new_best() as folder:
            save_local(local, folder)
            write_json(folder / RESULT, result)

    def _probes(self) -> list[float]:
        """Linear probes, fitted on training samples and tested on test samples; none for tokens."""
        if self.local.task != "classes":
            return []
        fitted, tested = (
            [(b.kwargs or b.args, b.target) for b in batches(self.source, part, 256, _PROBED)]
            for part in ("train", "test")
        )
        return [round(value, 4) for value in probe_blocks(self.local, fitted, tested)]

    def _alignment(self) -> list[float | None]:
        """Alignment of the gradients of one batch; None for a block without gradient."""
        most = min(self.recipe.batch_size, self.source.sizes["train"])
        batch = self.source.batch("train", torch.arange(most))
        found = align_gradients(self.local, *batch.args, target=batch.target, **batch.kwargs)
        return [None if math.isnan(value) else round(value, 4) for value in found]

    def _context(self, steps_done: int, metrics: dict[str, float] | None = None) -> TrainingContext:
        return TrainingContext(
            model=self.local.model,
            averaged_model=None,
            optimizer=self.optimizer,
            step=self.epoch * self.steps + steps_done,
            total_steps=self.recipe.epochs * self.steps,
            epoch=self.epoch + 1 if metrics is None else self.epoch,
            folder=self.folder.path,
            metrics=metrics or {},
        )

    def result(self) -> dict[str, Any]:
        """The result of the saved model."""
        return read_json(self.folder.best / RESULT, "result")

    def restore(self) -> None:
        """Load the last checkpoint, if there is one."""
        files = ("weights.safetensors", "state.json", *self.callbacks.files)
        last = self.folder.last_checkpoint(files)
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
            self.callbacks.load(last)
        self.folder.cut_log("epoch", self.epoch)

    def _save_checkpoint(self) -> None:
        # a copy each, as safetensors refuses tied weights
        tensors = {n: t.clone().contiguous() for n, t in self.local.state_dict().items()}
        state = {"epoch": self.epoch, "seconds": self.seconds}
        with written_aside(self.folder.path / f"checkpoint-{self.epoch}", replace=True) as aside:
            save_file(tensors, aside / "weights.safetensors")
            write_state(aside, "optimizer", self.optimizer.state_dict())
            self.callbacks.save(aside)
            (aside / "state.json").write_text(json.dumps(state), encoding="utf-8")
        self.folder.remove_old_checkpoints()
