"""What a run of the language model and of the classifier share: folder, callbacks and the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from evenfall.runs import Callbacks, Progress, RunFolder

from .data_record import compare_data, write_data
from .host_callbacks import EachEpoch, LogLines, RecipeCallbacks
from .recipe_trainer import RecipeTrainer


@contextmanager
def open_run(
    recipe: Any,
    output: str | Path,
    arguments: TrainingArguments,
    record: dict[str, Any],
    *,
    resume: bool,
    files: Sequence[str],
) -> Iterator[tuple[RunFolder, Path | None]]:
    """The folder of a run, and its last checkpoint or None.

    Args:
        recipe: every choice of the run.
        output: the folder.
        arguments: of the Trainer.
        record: describes the data; a resumed run must have the same.
        resume: resume the run in `output`, or start one if there is none.
        files: what a whole checkpoint contains.

    Raises:
        FileExistsError, BlockingIOError, ValueError: as `train`.
    """
    folder = RunFolder(output, recipe, first_rank=arguments.process_index == 0)
    if resume and folder.has_run():
        compare_data(folder.path, record)
    with folder.open(resume=resume, wait=arguments.distributed_state.wait_for_everyone):
        if folder.first_rank:
            write_data(folder.path, record)
        last = folder.last_checkpoint(files)
        folder.cut_log("step", 0 if last is None else int(last.name.rpartition("-")[2]))
        yield folder, last


def host_callbacks(
    folder: RunFolder,
    callbacks: Callbacks,
    steps: int,
    last: Path | None,
    progress: Progress | None,
) -> list[TrainerCallback]:
    """The Trainer's callbacks, which log, evaluate each epoch and call those of the recipe.

    Args:
        folder: of the run.
        callbacks: of the recipe.
        steps: of an epoch.
        last: the checkpoint to resume from, or None.
        progress: called with (task, steps done, total steps).
    """
    return [
        LogLines(folder),
        EachEpoch(),
        RecipeCallbacks(callbacks, folder, steps, last, progress),
    ]


def fit(
    trainer: RecipeTrainer, folder: RunFolder, last: Path | None, save: Callable[[Path], None]
) -> None:
    """Train from the last checkpoint or the start, then save the best model on the first rank."""
    trainer.remove_callback(PrinterCallback)  # without a bar, Trainer prints to stdout
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    trainer.check_best()
    if folder.first_rank:
        with folder.new_best() as best:
            save(best)
    trainer.args.distributed_state.wait_for_everyone()
