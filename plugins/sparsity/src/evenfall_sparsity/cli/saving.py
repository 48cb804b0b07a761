"""Write a changed model as it was loaded: with what came beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def load_savable(checkpoint: str, output: Path) -> tuple[Any, tuple[Any, ...]]:
    """The model of a checkpoint and what comes with it; before, check that `output` is free.

    Raises:
        FileExistsError: `output` exists.
        ValueError: the model cannot be saved, or as `load_model`.
    """
    from evenfall.files import want_replaceable

    from ..loading import load_model

    want_replaceable(output)
    model, others = load_model(checkpoint)
    if not hasattr(model, "save_pretrained"):
        raise ValueError(f"checkpoint {checkpoint}: its model has no save_pretrained")
    return model, others


@contextmanager
def saved(model: Any, others: tuple[Any, ...], output: Path) -> Iterator[Path]:
    """Save a model and what came with it; the block may add files to the folder that this yields.
    It appears whole or not at all."""
    from evenfall.files import written_aside

    with written_aside(output) as folder:
        model.save_pretrained(folder)
        for one in others:
            if hasattr(one, "save_pretrained"):
                one.save_pretrained(folder)
        yield folder
