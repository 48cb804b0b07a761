"""A training run: data, model, epochs, the best model, a checkpoint after each epoch."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from timm.utils import ModelEmaV3
from torch import nn
from torch.utils.data import Dataset
from torch_geometric.loader import DataLoader

from evenfall.errors import CallbackError
from evenfall.runs import Callbacks, Progress, RunFolder, TrainingContext, make_callbacks

from ..datasets import CutMix
from ..models.prediction import logits
from ..seeds import derived_seed
from .build import make_model
from .checkpoints import Position, load_checkpoint, save_checkpoint, write_errors
from .data import Examples, ShuffledBatches, class_names
from .evaluation import evaluate, make_accelerator, open_split
from .nearest import Neighbour, nearest_neighbour
from .optimizer import make_optimizer, make_schedule
from .recipe import Recipe

logger = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    data: str | Path,
    output: str | Path,
    *,
    resume: bool = False,
    num_workers: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Train a classifier; save the epoch with the best validation accuracy, or else the last one.

    The folder of the run contains recipe.yaml, log.jsonl (a line per epoch), best/ and one
    checkpoint-N. Random numbers depend on the seed and the epoch alone, so a resumed run gives the
    same result as an uninterrupted one; a higher `epochs` extends it. Under torchrun each rank
    processes its slice of every batch.

    Args:
        recipe: the settings of the run.
        data: folder or file of the data set.
        output: folder of the run.
        resume: continue after the last epoch in `output`, or start if it has no run.
        num_workers: processes that read and transform examples.
        progress: called with (task, steps done, total).

    Returns:
        The folder of the best model, for `from_pretrained`.

    Raises:
        FileExistsError: `output` already contains a run and resume is off, or is a file.
        BlockingIOError: another process writes to `output`.
        ValueError: the run in `output` has another recipe or a corrupt checkpoint, or the data
            does not match the recipe.
        FileNotFoundError: best/ was removed, and no later epoch was better.
        FloatingPointError: the loss is not finite.
        CallbackError: a callback raises, or no epoch counts as best for all callbacks.
        UnknownNameError, ReferenceImportError: a callback cannot be found.
    """
    callbacks = make_callbacks(recipe.callbacks)
    accelerator = make_accelerator(recipe.mixed_precision)
    training = open_split(recipe, data, recipe.train_split, accelerator)
    recipe = recipe.filled(training)
    folder = RunFolder(output, recipe, first_rank=accelerator.is_main_process)
    with folder.open(resume=resume, wait=accelerator.wait_for_everyone):
        run = _Run(recipe, training, data, folder, accelerator, callbacks, num_workers, progress)
        run.restore()
        neighbour = run.compare(training)
        while run.position.epoch < recipe.epochs:
            run.epoch()
    if run.position.best_epoch is None:
        raise CallbackError(
            f"output {output} has no best model: counts_as_best of a callback was False in every "
            f"epoch; in the last one for {callbacks.objections()}"
        )
    if not folder.best.is_dir():
        raise FileNotFoundError(f"output {output} has lost best/, the model of the finished run")
    if neighbour is not None:
        logger.info(
            "best: valid_accuracy %.4g after %d epochs; %s",
            run.position.best_accuracy, run.position.best_epoch, neighbour,
        )  # fmt: skip
    return folder.best


class _Run:
    """The state of a run, and the steps of its epochs."""

    def __init__(
        self,
        recipe: Recipe,
        training: Dataset,
        data: str | Path,
        folder: RunFolder,
        accelerator: Accelerator,
        callbacks: Callbacks,
        num_workers: int,
        report: Progress | None,
    ) -> None:
        self.recipe, self.folder, self.accelerator = recipe, folder, accelerator
        self.num_workers, self.report = num_workers, report
        self.callbacks = callbacks
        self.valid = (
            None
            if recipe.valid_split is None
            else open_split(recipe, data, recipe.valid_split, accelerator)
        )
        self.classes = class_names(training)
        self.position = Position(classes=self.classes)
        self._make_model()
        self._make_loader(training)
        self.schedule = make_schedule(recipe, self.optimizer, len(self.sampler))

    def _make_model(self) -> None:
        recipe = self.recipe
        torch.manual_seed(derived_seed(recipe.seed))
        self.bare = make_model(str(recipe.model), recipe.model_options, self.classes)
        self.bare.to(self.accelerator.device)
        logger.info("%d parameters", sum(p.numel() for p in self.bare.parameters()))
        self.callbacks.prepare(self.bare)
        self.average = (
            None
            if recipe.ema_decay is None
            else ModelEmaV3(self.bare, decay=recipe.ema_decay, use_warmup=True)
        )
        self.model, self.optimizer = self.accelerator.prepare(
            self.bare, make_optimizer(recipe, self.bare)
        )

    def _make_loader(self, training: Dataset) -> None:
        if self.recipe.cut_mix:
            training = CutMix(training, len(self.classes), self.recipe.cut_mix)
        examples = Examples(training, self.recipe.at_training(), self.recipe.seed)
        self.sampler = ShuffledBatches(
            len(examples), self.recipe.batch_size, self.recipe.seed,
            self.accelerator.process_index, self.accelerator.num_processes,
        )  # fmt: skip
        # A forked worker inherits locks of the kernels' threads and could deadlock.
        workers = {"multiprocessing_context": "spawn", "persistent_workers": True}
        self.loader = DataLoader(
            examples,
            batch_sampler=self.sampler,
            num_workers=self.num_workers,
            pin_memory=self.accelerator.device.type == "cuda",
            **(workers if self.num_workers else {}),
        )

    def compare(self, training: Dataset) -> Neighbour | None:
        """The nearest neighbour's result on the validation split, if there is one; on one rank. It
        compares whole examples, so the classes of points have none."""
        if (
            self.recipe.task == "segments"
            or self.valid is None
            or not len(self.valid)
            or not self.accelerator.is_main_process
        ):
            return None
        neighbour = nearest_neighbour(self.recipe, training, self.valid)
        logger.info("%s", neighbour)
        return neighbour

    @property
    def evaluated_model(self) -> nn.Module:
        """The model to evaluate and save: the average of the weights, if there is one."""
        return self.bare if self.average is None else self.average.module

    def epoch(self) -> None:
        """Train one epoch, validate, write the log and a checkpoint, and save a new best model."""
        start = time.perf_counter()
        number = self.position.epoch
        torch.manual_seed(derived_seed(self.recipe.seed, number, self.accelerator.process_index, 1))
        line: dict[str, Any] = {"epoch": number + 1, **self._train_epoch(number)}
        accuracy = None
        if self.valid is not None:
            scores = self._validate()
            accuracy = scores["accuracy"]
            line |= {"valid_accuracy": accuracy, "valid_loss": scores["loss"]}
            metrics = {"loss": scores["loss"], "accuracy": accuracy}
            if "mean_iou" in scores:  # selects the best epoch of a segmenter
                accuracy = metrics["mean_iou"] = line["valid_mean_iou"] = scores["mean_iou"]
            self.callbacks.on_evaluate(self._context(number, len(self.sampler), metrics))
        line["seconds"] = round(time.perf_counter() - start, 2)
        logger.info("  ".join(f"{name} {_short(value)}" for name, value in line.items()))
        self.position.epoch = number + 1
        best = self.position.best_accuracy
        better = accuracy is None or best is None or accuracy > best
        better = better and not self.callbacks.objections()
        if better:
            self.position.best_accuracy, self.position.best_epoch = accuracy, number + 1
        if self.accelerator.is_main_process:
            self._save(line, better)
        self.accelerator.wait_for_everyone()

    def _train_epoch(self, number: int) -> dict[str, float]:
        self.model.train()
        self.sampler.epoch = number
        steps, device = len(self.sampler), self.accelerator.device
        count, loss_sum, correct = 0, torch.zeros((), device=device), torch.zeros((), device=device)
        for step, data in enumerate(self.loader):
            data = data.to(device)
            self.schedule.step_update(number * steps + step)
            out = logits(self.model, data).float()
            loss = F.cross_entropy(out, data.y, label_smoothing=self.recipe.label_smoothing)
            self._descend(loss, number * steps + step)
            count += len(data.y)
            loss_sum += loss.detach() * len(data.y)
            correct += (out.detach().argmax(1) == _label(data.y)).sum()
            self.callbacks.on_step_end(self._context(number, step + 1))
            if self.report is not None:
                self.report(f"epoch {number + 1} of {self.recipe.epochs}", step + 1, steps)
        self.callbacks.on_epoch_end(self._context(number, steps))
        totals = torch.stack([loss_sum, correct, torch.full_like(correct, count)])
        mean_loss, accuracy = self._means(self.accelerator.reduce(totals, "sum"))
        if not torch.isfinite(torch.tensor(mean_loss)):
            raise FloatingPointError(
                f"loss must be finite, got {mean_loss} in epoch {number + 1}; "
                "try a lower learning_rate"
            )
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        return {"loss": mean_loss, "accuracy": accuracy, "learning_rate": rate}

    @staticmethod
    def _means(totals: torch.Tensor) -> tuple[float, float]:
        loss, correct, count = totals.tolist()
        return loss / count, correct / count

    def _descend(self, loss: torch.Tensor, step: int) -> None:
        self.accelerator.backward(loss)
        if self.recipe.max_grad_norm is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self.bare, step=step)

    def _validate(self) -> dict[str, Any]:
        return evaluate(
            self.evaluated_model,
            self.valid,
            batch_size=self.recipe.batch_size,
            transform=self.recipe.at_evaluation(),
            votes=self.recipe.votes,
            seed=self.recipe.seed,
            classes=self.classes,
            accelerator=self.accelerator,
        )

    def _context(
        self, number: int, steps_done: int, metrics: dict[str, float] | None = None
    ) -> TrainingContext:
        """The context for callbacks after `number` epochs and `steps_done` steps."""
        steps = len(self.sampler)
        return TrainingContext(
            model=self.bare,
            averaged_model=None if self.average is None else self.average.module,
            optimizer=self.optimizer.optimizer,
            step=number * steps + steps_done,
            total_steps=self.recipe.epochs * steps,
            epoch=number + 1,
            folder=self.folder.path,
            metrics=metrics or {},
        )

    def _save(self, line: dict[str, Any], better: bool) -> None:
        self.folder.log(line)
        if better:
            with write_errors(self.folder.best), self.folder.new_best() as folder:
                self.evaluated_model.save_pretrained(folder)
        states = {name: part.state_dict() for name, part in self._stateful().items()}
        save_checkpoint(self.folder, self.position, self._models(), states, self.callbacks)

    def _stateful(self) -> dict[str, Any]:
        """The parts besides the models whose state is saved."""
        scaler = self.accelerator.scaler
        return {"optimizer": self.optimizer, **({} if scaler is None else {"scaler": scaler})}

    def _models(self) -> dict[str, nn.Module]:
        models = {"model": self.bare}
        return models if self.average is None else {**models, "average": self.average.module}

    def restore(self) -> None:
        """Load the last checkpoint, if there is one."""
        last = self.folder.last_checkpoint()
        if last is not None:
            parts = self._stateful()
            self.position, states = load_checkpoint(
                last, self._models(), list(parts), self.accelerator.device, self.classes
            )
            for name, part in parts.items():
                part.load_state_dict(states[name])
            self.callbacks.load(last)
            logger.info("continuing after epoch %d", self.position.epoch)
        self.folder.cut_log("epoch", self.position.epoch)


def _label(y: torch.Tensor) -> torch.Tensor:
    """(B,) classes; for mixed examples the class with the largest weight."""
    return y.argmax(1) if y.dim() == 2 else y


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"
