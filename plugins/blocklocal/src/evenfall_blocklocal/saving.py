"""Save a BlockLocal: the plain backbone as its host saves it, heads and feedback in a side file.

    config.json, model.safetensors    as timm or transformers write them
    blocklocal.json                   rule, boundaries and options
    blocklocal.safetensors            heads and feedback

So plain timm or transformers loads the backbone.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file, save_model
from torch import nn

from evenfall.counting import without_wrappers
from evenfall.errors import shorten
from evenfall.files import file_aside, write_json

from .local import BlockLocal

SETTINGS, HEADS = "blocklocal.json", "blocklocal.safetensors"
_KEYS = {"rule", "boundaries", "task", "tied", "seed", "steps", "options"}


def save_local(local: BlockLocal, folder: str | Path) -> Path:
    """Write the backbone and, beside it, the heads; returns the folder.

    timm models are written with timm's `save_for_hf`, transformers models with `save_pretrained`,
    others as model.safetensors.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = settings_of(local)
    _save_backbone(without_wrappers(local.model), folder, settings)
    tensors = {name: value.contiguous() for name, value in local.rule.state_dict().items()}
    with file_aside(folder / HEADS) as aside:
        save_file(tensors, aside)
    write_json(folder / SETTINGS, settings)
    return folder


def load_local(model: nn.Module, folder: str | Path, **options: Any) -> BlockLocal:
    """A BlockLocal around `model`, whose weights are loaded already, with the saved heads.

    Args:
        model: the backbone, such as `timm.create_model("local-dir:FOLDER", pretrained=True)`.
        folder: what `save_local` wrote.
        **options: arguments of BlockLocal that are not saved, such as inputs and criterion.

    Raises:
        FileNotFoundError: the folder has no heads.
        ValueError: the files are damaged, or the heads do not fit the model.
    """
    folder = Path(folder)
    saved, tensors = read_heads(folder)
    rule_options = {k: tuple(v) if isinstance(v, list) else v for k, v in saved["options"].items()}
    stored = {name: saved[name] for name in ("rule", "boundaries", "task", "seed", "tied")}
    local = BlockLocal(model, **(stored | rule_options | options))
    try:
        local.rule.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"{folder / HEADS} does not fit the model: {error}") from error
    local.steps = saved["steps"]
    return local


def load_heads(local: BlockLocal, folder: Path) -> None:
    """Load the heads and the number of steps that `save_local` wrote.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or the heads are those of another rule or other blocks.
    """
    settings, tensors = read_heads(folder)
    own = settings_of(local)
    pairs = [(name, settings[name], own[name]) for name in ("rule", "boundaries", "task")]
    for name in ("family", "feedback"):
        pairs.append((name, settings["options"][name], own["options"][name]))
    for name, saved, present in pairs:
        if saved != present:
            raise ValueError(
                f"{folder} was saved with {name} {shorten(saved)}, but this BlockLocal has "
                f"{shorten(present)}"
            )
    try:
        local.rule.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"{folder / HEADS} does not fit the model: {error}") from error
    local.steps = int(settings["steps"])


def read_heads(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings and the tensors that `save_local` wrote.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged.
    """
    for name in (SETTINGS, HEADS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}: it was not written by save_local")
    try:
        settings = json.loads((folder / SETTINGS).read_text("utf-8"))
        missing = _KEYS - settings.keys()
        tensors = load_file(folder / HEADS)
    except (ValueError, AttributeError, SafetensorError) as error:
        raise ValueError(f"the files of {folder} are damaged: {error}") from error
    if missing:
        raise ValueError(f"{folder / SETTINGS} is damaged: it has no {sorted(missing)}")
    return settings, tensors


def settings_of(local: BlockLocal) -> dict[str, Any]:
    """Everything that `load_local` needs besides weights, JSON-able."""
    return {
        "rule": local.rule_name,
        "boundaries": list(local.split.boundaries),
        "task": local.task,
        "tied": "last" if local.split.detached else "untie" if local.split.tied else "refuse",
        "seed": local.seed,
        "steps": local.steps,
        "options": asdict(local.rule.options),
    }


def _save_backbone(model: Any, folder: Path, settings: dict[str, Any]) -> None:
    if hasattr(model, "pretrained_cfg"):
        from timm.models import save_for_hf

        save_for_hf(model, folder, model_config={"blocklocal": settings}, safe_serialization=True)
    elif hasattr(model, "save_pretrained"):
        model.save_pretrained(folder)
    else:
        with file_aside(folder / "model.safetensors") as aside:
            save_model(model, str(aside))
