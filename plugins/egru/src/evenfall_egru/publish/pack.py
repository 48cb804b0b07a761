"""Make the folder to publish from a finished run: weights, results, card and picture."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from evenfall.corpora import read_split
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
from .packing import (
    PACKAGES,
    RASTER,
    copy_raster,
    find_dtype,
    model_record,
    read_settings,
    round_weights,
    training_record,
    write_model,
)
from .pruning import pruning_of

PROTOCOLS = {
    "full carry": {"window": 256, "carry": "full"},
    "window 70, output carry": {"window": 70, "carry": "output"},
}


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
    storage_dtype, settings = find_dtype(dtype), read_settings(checkpoint)
    model, tokenizer = load_checkpoint(checkpoint)
    if model.config.model_type != "egru":
        raise ValueError(
            f"checkpoint {checkpoint} must be an EGRU, whose code travels with it, got a "
            f"{type(model).__name__}"
        )
    round_weights(model, storage_dtype)
    start = settings.get("initial_checkpoint")
    if start is not None:
        settings["initial_checkpoint"] = Path(start).name  # no folder of this machine

    def fill(folder: Path) -> dict[str, Any]:
        size = write_model(model, tokenizer, settings, folder, storage_dtype)
        draw_sample(model, tokenizer, folder / RASTER)
        return {
            "machine": machine(model.device.type),
            "model": {
                "vocab_size": model.config.vocab_size,
                "embedding_size": model.config.embedding_size,
                **model_record(model, dtype, size),
            },
            "training": training_record(Path(checkpoint), settings, "eval_perplexity", min),
            **pruning_of(model, start),
            "evaluations": _evaluate(model, tokenizer, data, progress),
        }

    name = Path(output).name
    command = f"evenfall egru pack RUN/best --data PTB --output {name} --dtype {dtype}"
    pack_folder(output, fill, make_card, command=command, packages=PACKAGES, replace=replace)
    copy_raster(Path(output), picture)
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
