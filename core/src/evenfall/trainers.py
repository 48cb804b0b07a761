"""What a plugin registers as a trainer: the recipe, training and evaluation of its models.

    >>> trainer = evenfall.registry.trainers.get("egru")
    >>> recipe = dataclasses.replace(trainer.load_recipe("recipe.yaml"), epochs=1)
    >>> best = trainer.train(recipe, "data/ptb", "runs/a")
    >>> trainer.evaluate(best, "data/ptb", "valid")["perplexity"]

So a study trains the models of a plugin without importing it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Trainer(Protocol):
    """What the hook `evenfall_register_trainers` registers a reference to.

    An object or a module. The metadata `metric` of the registration names the metric of `evaluate`
    that ranks models; `greater_is_better` gives its direction.
    """

    @property
    def Recipe(self) -> type[Any]:
        """The recipe, a frozen dataclass with every choice of a run, including `epochs`, `seed` and
        `callbacks`; `dataclasses.replace` makes variants."""

    def load_recipe(self, source: str | Path) -> Any:
        """Read a recipe from a YAML file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: an unknown key, or a value out of range.
        """

    def train(
        self,
        recipe: Any,
        data: str | Path,
        output: str | Path,
        *,
        resume: bool = False,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Path:
        """Train a model and return the folder of the best one.

        Args:
            recipe: what `load_recipe` or `Recipe` returns.
            data: folder or file of the data.
            output: folder of the run.
            resume: continue the run in `output`, or start one if there is none.
            progress: called with (name of the task, steps done, total steps).

        Raises:
            FileExistsError: `output` already contains a run and resume is off.
            ValueError: the run in `output` has another recipe, or the data does not fit.
        """

    def evaluate(self, folder: str | Path, data: str | Path, split: str) -> dict[str, Any]:
        """The metrics of the model in `folder` on one split, JSON-able.

        Raises:
            FileNotFoundError: there is no such model, data or split.
            ValueError: the model does not fit the data.
        """


@runtime_checkable
class ExampleLoader(Protocol):
    """What a trainer offers if its models can be counted, compressed and timed by others."""

    def load_example(
        self, folder: str | Path, data: str | Path, split: str
    ) -> tuple[Any, dict[str, Any]]:
        """The model in `folder`, in evaluation mode on the CPU, and one call's keyword arguments.

        The call has enough real data for a stable activity, and every part of it counts: no
        padding.

        Raises:
            FileNotFoundError, ValueError: as `Trainer.evaluate`.
        """
