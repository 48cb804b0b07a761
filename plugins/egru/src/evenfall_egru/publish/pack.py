"""A finished run as a folder to publish: weights, results, card and picture."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from evenfall.files import file_aside
from evenfall.hub import machine, pack_folder
from evenfall.pictures import draw_raster
from evenfall.runs import Progress

from ..evaluation.perplexity import evaluate_tokens
from ..loading import load_checkpoint, record_events
from ..text.corpus import encode, read_split
from ..text.demo_text import DEMO_TEXT
from ..text.tokenization import EOS
from .card import make_card
from .folder import fill_hub_folder

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
    """Round the weights to `dtype`, evaluate what is left of them, and write the folder.

    Validation and test are read once by each of PROTOCOLS, after rounding, so that the results
    are those of the file that is published.

    Args:
        checkpoint: a run's `best` folder, with its recipe.yaml.
        data: folder or archive with valid and test.
        output: the folder to be; appears whole or not at all.
        dtype: of the weights in the file, "float32", "bfloat16" or "float16".
        picture: where else to put the raster, such as a page's images.
        replace: whether `output` may be replaced.
        progress: called with (what, tokens done, tokens in all).

    Raises:
        FileExistsError: `output` exists and may not be replaced.
        ValueError: an unknown dtype, a checkpoint without a recipe, or more than 15 MB of weights.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {_DTYPES}, got {dtype!r}")
    recipe = Path(checkpoint) / "recipe.yaml"
    if not recipe.is_file():
        raise ValueError(f"checkpoint {checkpoint} has no recipe.yaml, which the card needs")
    model, tokenizer = load_checkpoint(checkpoint)
    stored = getattr(torch, dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(stored))

    def fill(folder: Path) -> dict[str, Any]:
        fill_hub_folder(model, tokenizer, folder, dtype=stored)
        shutil.copyfile(recipe, folder / "recipe.yaml")
        size = (folder / "model.safetensors").stat().st_size
        if size > MOST_BYTES:
            raise ValueError(f"model.safetensors has {size} bytes, want at most {MOST_BYTES}")
        draw_sample(model, tokenizer, folder / "raster.png")
        return {
            "machine": machine(model.device.type),
            "model": _sizes(model, dtype, size),
            "training": _training(Path(checkpoint), recipe),
            "evaluations": _evaluate(model, tokenizer, data, progress),
        }

    name = Path(output).name
    command = f"evenfall egru pack RUN/best --data PTB --output {name} --dtype {dtype}"
    pack_folder(output, fill, make_card, command=command, packages=_PACKAGES, replace=replace)
    if picture is not None:
        with file_aside(picture) as aside:
            shutil.copyfile(Path(output) / "raster.png", aside)
    return Path(output)


def draw_sample(model: Any, tokenizer: Any, path: str | Path, text: str | None = None) -> Path:
    """The raster of a text's first tokens, 48 at most; the demonstration text when None."""
    tokens = encode(tokenizer, text or DEMO_TEXT)[:48]
    words = [word.replace(EOS, "↵") for word in tokenizer.convert_ids_to_tokens(tokens.tolist())]
    return draw_raster(
        record_events(model, tokens), path, words=words, title="Events of an EGRU language model"
    )


def _sizes(model: Any, dtype: str, size: int) -> dict[str, Any]:
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


def _training(checkpoint: Path, recipe: Path) -> dict[str, Any]:
    choices = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    found: dict[str, Any] = {"recipe": choices, "runs": 1}
    log = checkpoint.parent / "log.jsonl"
    if log.is_file():
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        found["steps"] = max(line["step"] for line in lines)
        found["epochs_run"] = round(max(line.get("epoch", 0.0) for line in lines), 2)
        evaluated = [line for line in lines if "eval_perplexity" in line]
        if evaluated:
            best = min(evaluated, key=lambda line: line["eval_perplexity"])
            found["best_step"] = best["step"]
    return found


def _evaluate(
    model: Any, tokenizer: Any, data: str | Path, progress: Progress | None
) -> list[dict[str, Any]]:
    results = []
    for split in ("valid", "test"):
        tokens = encode(tokenizer, read_split(data, split))
        for protocol, options in PROTOCOLS.items():
            report = None if progress is None else partial(progress, f"{split}, {protocol}")
            result = evaluate_tokens(model, tokens, progress=report, **options)
            results.append({"split": split, "protocol": protocol, **result})
    return results
