"""Make the folder to publish from a finished run: weights, results, card and picture."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import PreTrainedTokenizerBase

from evenfall.corpora import read_split
from evenfall.errors import shorten
from evenfall.files import file_aside, write_text
from evenfall.hub import machine, pack_folder
from evenfall.pictures import draw_raster
from evenfall.runs import Progress

from ..evaluation.perplexity import evaluate_tokens
from ..loading import load_checkpoint, record_events
from ..models.modeling_egru import EgruForCausalLM
from ..text.demo_text import DEMO_TEXT
from ..text.encoding import encode
from ..text.tokenization import EOS
from .card import make_card
from .folder import fill_hub_folder
from .pruning import pruning_of

MOST_BYTES = 15_000_000
PROTOCOLS = {
    "full carry": {"window": 256, "carry": "full"},
    "window 70, output carry": {"window": 70, "carry": "output"},
}
_PACKAGES = ("evenfall-egru", "evenfall-kernels", "torch", "transformers")
_DTYPES = ("float32", "bfloat16", "float16")


def pack(
    checkpoint: str | Path,
    data: str | Path,
    output: str | Path,
    *,
    dtype: str = "bfloat16",
    picture: str | Path | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Round the weights to `dtype`, evaluate the rounded model, and write the folder.

    Each of PROTOCOLS reads validation and test once, after rounding, so the results are those of
    the published weights.

    Args:
        checkpoint: a run's `best` folder, with its recipe.yaml.
        data: folder or archive with valid and test.
        output: the folder to make; it is written completely or not at all.
        dtype: dtype of the weights in the file, "float32", "bfloat16" or "float16".
        picture: another file for the raster, such as an image of a page.
        replace: replace an existing `output`.
        progress: called with (task, tokens done, total tokens).

    Raises:
        FileExistsError: `output` exists and `replace` is off.
        ValueError: an unknown dtype, a checkpoint without a recipe, a model
            that is not an EGRU, or more than 15 MB of weights.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {_DTYPES}, got {shorten(dtype)}")
    recipe = Path(checkpoint) / "recipe.yaml"
    if not recipe.is_file():
        raise ValueError(f"checkpoint {checkpoint} has no recipe.yaml, which the card needs")
    model, tokenizer = load_checkpoint(checkpoint)
    if model.config.model_type != "egru":
        raise ValueError(
            f"checkpoint {checkpoint} must be an EGRU, whose code travels with it, got a "
            f"{type(model).__name__}"
        )
    storage_dtype = getattr(torch, dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(storage_dtype))

    settings = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    start = settings.get("initial_checkpoint")
    if start is not None:
        settings["initial_checkpoint"] = Path(start).name  # no folder of this machine

    def fill(folder: Path) -> dict[str, Any]:
        fill_hub_folder(model, tokenizer, folder, dtype=storage_dtype)
        write_text(folder / "recipe.yaml", yaml.safe_dump(settings, sort_keys=False))
        size = (folder / "model.safetensors").stat().st_size
        if size > MOST_BYTES:
            raise ValueError(
                f"model.safetensors must have at most {MOST_BYTES} bytes, got {size}; use a dtype "
                "with fewer bits, or a smaller model"
            )
        draw_sample(model, tokenizer, folder / "raster.png")
        return {
            "machine": machine(model.device.type),
            "model": _sizes(model, dtype, size),
            "training": _training(Path(checkpoint), settings),
            **pruning_of(model, start),
            "evaluations": _evaluate(model, tokenizer, data, progress),
        }

    name = Path(output).name
    command = f"evenfall egru pack RUN/best --data PTB --output {name} --dtype {dtype}"
    pack_folder(output, fill, make_card, command=command, packages=_PACKAGES, replace=replace)
    if picture is not None:
        with file_aside(picture) as aside:
            shutil.copyfile(Path(output) / "raster.png", aside)
    return Path(output)


def draw_sample(
    model: EgruForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    path: str | Path,
    text: str | None = None,
) -> Path:
    """Draw the events of the first 48 tokens of a text; by default, of the demo text."""
    tokens = encode(tokenizer, text or DEMO_TEXT)[:48]
    words = [word.replace(EOS, "↵") for word in tokenizer.convert_ids_to_tokens(tokens.tolist())]
    return draw_raster(
        record_events(model, tokens), path, words=words, title="Events of an EGRU language model"
    )


def _sizes(model: EgruForCausalLM, dtype: str, size: int) -> dict[str, Any]:
    config = model.config
    return {
        "parameters": model.num_parameters(),
        "vocab_size": config.vocab_size,
        "embedding_size": config.embedding_size,
        "hidden_sizes": list(config.hidden_sizes),
        "dampening": config.dampening,
        "support": config.support,
        "variant": config.variant,
        "weights_dtype": dtype,
        "weights_bytes": size,
    }


def _training(checkpoint: Path, settings: dict[str, Any]) -> dict[str, Any]:
    training: dict[str, Any] = {"recipe": settings, "runs": 1}
    log = checkpoint.parent / "log.jsonl"
    if log.is_file():
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        training["steps"] = max(line["step"] for line in lines)
        training["epochs_run"] = round(max(line.get("epoch", 0.0) for line in lines), 2)
        evaluations = [line for line in lines if "eval_perplexity" in line]
        if evaluations:
            best = min(evaluations, key=lambda line: line["eval_perplexity"])
            training["best_step"] = best["step"]
    return training


def _evaluate(
    model: EgruForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    data: str | Path,
    progress: Progress | None,
) -> list[dict[str, Any]]:
    results = []
    for split in ("valid", "test"):
        tokens = encode(tokenizer, read_split(data, split))
        for protocol, options in PROTOCOLS.items():
            report = None if progress is None else partial(progress, f"{split}, {protocol}")
            result = evaluate_tokens(model, tokens, progress=report, **options)
            results.append({"split": split, "protocol": protocol, **result})
    return results
