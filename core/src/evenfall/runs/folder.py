"""The folder of a training run. It contains:

    recipe.yaml     every choice of the run
    log.jsonl       a line of JSON for each event
    checkpoint-N/   where the run can continue
    best/           the model to use, with the recipe

A lock keeps a second process out.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from evenfall.files import recover, without_nan, write_text, written_aside
from evenfall.recipes import changed_keys, dump_recipe, read_recipe

from .lock import lock_folder

logger = logging.getLogger(__name__)

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_FOLDERS = re.compile(r"best|checkpoint-\d+")


class RunFolder:
    """The files of a training run. Several ranks may open the folder; only the first one writes.

    Args:
        path: the folder; made when the run begins.
        recipe: the dataclass with every choice of the run; it has a field `epochs`.
        first_rank: whether this process is the first rank.
    """

    def __init__(self, path: str | Path, recipe: Any, *, first_rank: bool = True) -> None:
        self.path, self.recipe, self.first_rank = Path(path), recipe, first_rank
        self.recipe_file = self.path / "recipe.yaml"
        self.log_file = self.path / "log.jsonl"
        self.best = self.path / "best"
        self._former_epochs: int | None = None

    def has_run(self) -> bool:
        """Whether the folder has a checkpoint or a best model. A run that failed earlier may start
        again with another recipe."""
        return self.best.exists() or bool(self.checkpoints())

    @contextmanager
    def open(self, *, resume: bool, wait: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Check that the run may begin or continue here, lock the folder and write recipe.yaml.

        A resumed run must have the recipe it began with, except that `epochs` may be higher. This
        extends the run: from there on the learning rate follows the longer schedule, and log.jsonl
        gets a line that says so.

        Args:
            resume: continue the run in the folder, or begin one if there is none.
            wait: returns when every rank has called it.

        Raises:
            FileExistsError: the folder contains a run and `resume` is off, or `path` is a file.
            BlockingIOError: another process writes to the folder.
            ValueError: the run in the folder has another recipe.
        """
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"output {self.path} must be a folder, but is a file")
        with lock_folder(self.path) if self.first_rank else nullcontext():
            if self.first_rank:
                recover(self.path, _FOLDERS)
            exists = self.has_run()
            if exists:
                self._check(resume)
            wait()
            if self.first_rank:
                if not exists:
                    self.log_file.unlink(missing_ok=True)
                write_text(self.recipe_file, dump_recipe(self.recipe))
            yield

    def _check(self, resume: bool) -> None:
        if not resume:
            raise FileExistsError(
                f"output {self.path} already contains a run; use --resume to continue it"
            )
        if not self.recipe_file.is_file():
            raise ValueError(f"output {self.path} contains a run without recipe.yaml")
        before = read_recipe(self.recipe_file, type(self.recipe))
        changed = changed_keys(before, self.recipe)
        if changed == ["epochs"] and self.recipe.epochs > before.epochs:
            self._former_epochs = before.epochs
        elif changed:
            raise ValueError(
                f"output {self.path} contains a run whose recipe differs in {changed}; "
                "only a higher number of epochs can continue it"
            )

    def checkpoints(self) -> list[Path]:
        """The folders checkpoint-N, the lowest N first."""
        numbers = {p: _CHECKPOINT.fullmatch(p.name) for p in self.path.glob("checkpoint-*")}
        folders = {p: int(match[1]) for p, match in numbers.items() if match and p.is_dir()}
        return sorted(folders, key=folders.__getitem__)

    def last_checkpoint(self, needed: Sequence[str] = ()) -> Path | None:
        """The checkpoint with the highest N that has all files of `needed`, or None.

        Incomplete checkpoints, which a killed process can leave, are skipped with a warning.
        """
        for folder in reversed(self.checkpoints()):
            missing = [name for name in needed if not (folder / name).is_file()]
            if not missing:
                return folder
            logger.warning("%s is incomplete and is skipped; it lacks %s", folder, missing)
        return None

    def remove_old_checkpoints(self) -> None:
        """Remove every checkpoint except the last one."""
        if self.first_rank:
            for folder in self.checkpoints()[:-1]:
                shutil.rmtree(folder, ignore_errors=True)

    def log(self, line: dict[str, Any]) -> None:
        """Append one line to log.jsonl; NaN and infinity become null."""
        if self.first_rank:
            with self.log_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(without_nan(line), allow_nan=False) + "\n")

    def cut_log(self, unit: str, done: int) -> None:
        """Remove the lines that a resumed run writes again; add a line if the run is extended.

        Args:
            unit: the key of a line's position, "step" or "epoch".
            done: the position of the checkpoint where the run continues.
        """
        if not self.first_rank:
            return
        if self.log_file.is_file():
            lines = self.log_file.read_text(encoding="utf-8").splitlines()
            earlier = [line for line in lines if _position(line, unit) <= done]
            write_text(self.log_file, "".join(f"{line}\n" for line in earlier))
        if self._former_epochs is not None:
            self.log({unit: done, "extended": [self._former_epochs, self.recipe.epochs]})
            self._former_epochs = None

    @contextmanager
    def new_best(self) -> Iterator[Path]:
        """Yield the folder that becomes best/ when the block ends; recipe.yaml is added to it."""
        with written_aside(self.best, replace=True) as folder:
            yield folder
            (folder / "recipe.yaml").write_text(dump_recipe(self.recipe), encoding="utf-8")


def _position(line: str, unit: str) -> float:
    """The position of a line; infinite for an incomplete line."""
    try:
        return float(json.loads(line)[unit])
    except (ValueError, KeyError, TypeError):
        return float("inf")
