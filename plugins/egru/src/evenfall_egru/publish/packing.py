"""What packing a language model and packing a classifier share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import PreTrainedTokenizerBase
from transformers.trainer import TRAINER_STATE_NAME

from evenfall.checks import check_choice
from evenfall.files import file_aside, write_text
from evenfall.hub import wrap_text
from evenfall.reading import read_json, reading
from evenfall.recipes import read_yaml
from evenfall.runs import RunFolder

from ..models.pretrained_egru import EgruPreTrainedModel
from .folder import fill_hub_folder

MOST_BYTES = 15_000_000
PACKAGES = ("evenfall-egru", "evenfall-kernels", "torch", "transformers")
RECIPE, RASTER = "recipe.yaml", "raster.png"
_DTYPES = ("float32", "bfloat16", "float16")


def find_dtype(name: str) -> torch.dtype:
    """The dtype of the weights in the file.

    Raises:
        ValueError: another name than "float32", "bfloat16" or "float16".
    """
    check_choice("dtype", name, _DTYPES)
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def read_settings(checkpoint: str | Path) -> dict[str, Any]:
    """The recipe of a run's best/ folder, as a mapping.

    Raises:
        ValueError: it has none, or a damaged one.
    """
    file = Path(checkpoint) / RECIPE
    if not file.is_file():
        raise ValueError(f"checkpoint {checkpoint} has no {RECIPE}, which the card needs")
    return read_yaml(file, "recipe")


@torch.no_grad()
def round_weights(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Round every weight to `dtype`, in place."""
    for parameter in model.parameters():
        parameter.copy_(parameter.to(dtype))


def write_model(
    model: EgruPreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    settings: dict[str, Any],
    folder: Path,
    dtype: torch.dtype,
) -> int:
    """Write weights, tokenizer and recipe, and return the bytes of the weights.

    Raises:
        ValueError: more than `MOST_BYTES` bytes.
    """
    fill_hub_folder(model, tokenizer, folder, dtype=dtype)
    write_text(folder / RECIPE, yaml.safe_dump(settings, sort_keys=False))
    size = (folder / "model.safetensors").stat().st_size
    if size > MOST_BYTES:
        raise ValueError(
            f"model.safetensors must have at most {MOST_BYTES} bytes, got {size}; use a dtype "
            "with fewer bits, or a smaller model"
        )
    return size


def copy_raster(folder: Path, picture: str | Path | None) -> None:
    """Copy the raster of a packed folder to `picture`, unless that is None."""
    if picture is not None:
        with file_aside(picture) as aside:
            shutil.copyfile(folder / RASTER, aside)


def model_record(model: EgruPreTrainedModel, dtype: str, size: int) -> dict[str, Any]:
    """What the results say of any EGRU; `size` is the bytes of its weights."""
    config = model.config
    return {
        "parameters": model.num_parameters(),
        "hidden_sizes": list(config.hidden_sizes),
        "dampening": config.dampening,
        "support": config.support,
        "variant": config.variant,
        "weights_dtype": dtype,
        "weights_bytes": size,
    }


def training_record(
    checkpoint: Path,
    settings: dict[str, Any],
    metric: str,
    best: Callable[..., dict[str, Any]],
) -> dict[str, Any]:
    """The recipe, and what log.jsonl says of the run: steps, epochs, and the step of the best.

    Args:
        checkpoint: the run's best/ folder.
        settings: its recipe.
        metric: the key of log.jsonl by which the best was chosen, if no checkpoint says which.
        best: min or max.

    Raises:
        ValueError: log.jsonl is damaged.
    """
    record: dict[str, Any] = {"recipe": settings, "runs": 1}
    log = checkpoint.parent / "log.jsonl"
    if log.is_file():
        with reading(log):
            lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
            record["steps"] = max(line["step"] for line in lines)
            record["epochs_run"] = round(max(line.get("epoch", 0.0) for line in lines), 2)
        evaluations = [line for line in lines if isinstance(line.get(metric), int | float)]
        step = _best_step(checkpoint.parent)
        if step is not None:
            record["best_step"] = step
        elif evaluations:
            record["best_step"] = best(evaluations, key=lambda line: line[metric])["step"]
    return record


def _best_step(run: Path) -> int | None:
    """What Trainer's state says; the log does not say which evaluations callbacks rejected."""
    checkpoints = RunFolder(run, None).checkpoints()
    file = checkpoints[-1] / TRAINER_STATE_NAME if checkpoints else None
    if file is None or not file.is_file():
        return None
    step = read_json(file).get("best_global_step")
    return step if isinstance(step, int) else None


def training_text(training: dict[str, Any]) -> str:
    """The sentences of the card."""
    steps = [
        f"{label} {training[key]:,}"
        for key, label in (
            ("steps", "Steps run:"),
            ("best_step", "step published, best on validation:"),
        )
        if key in training
    ]
    text = "; ".join(steps) + "." if steps else "The number of steps was not recorded."
    return wrap_text(f"{text} {training['note']}" if "note" in training else text)
