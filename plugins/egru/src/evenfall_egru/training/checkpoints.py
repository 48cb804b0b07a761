"""Which checkpoint of a run to go on from."""

from __future__ import annotations

import logging
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

logger = logging.getLogger(__name__)


def carry_file(folder: Path, rank: int) -> Path:
    """Where a checkpoint keeps the state that one rank carries from window to window."""
    return folder / f"carry-{rank}.safetensors"


def last_whole_checkpoint(output: Path, ranks: int) -> Path | None:
    """The newest checkpoint of a run that was written to its end, or None.

    A kill may come while one is being written; such a one is passed over with a warning.

    Args:
        output: folder of the run.
        ranks: processes that will go on, each with its carried state.
    """
    found = sorted(
        (p for p in output.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if p.name.split("-")[-1].isdigit()),
        key=lambda p: int(p.name.split("-")[-1]),
        reverse=True,
    )
    for folder in found:
        needed = [folder / TRAINER_STATE_NAME, *(carry_file(folder, r) for r in range(ranks))]
        missing = [file.name for file in needed if not file.is_file()]
        if not missing:
            return folder
        logger.warning("%s is incomplete, it lacks %s: passed over", folder, missing)
    return None
