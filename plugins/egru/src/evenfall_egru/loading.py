"""Load a checkpoint, or raise one clear error."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from evenfall import registry
from evenfall.errors import EvenfallError, shorten, shorten_text
from evenfall.reading import read_json

from .models.classification_egru import EgruForSequenceClassification
from .models.modeling_egru import EgruForCausalLM


def load_checkpoint(
    name: str | Path, device: str | None = None
) -> tuple[EgruForCausalLM, PreTrainedTokenizerBase]:
    """Load with AutoModelForCausalLM and AutoTokenizer, in evaluation mode.

    Args:
        name: a folder, a registered checkpoint, or a model on the Hugging Face Hub.
        device: such as "cpu" or "cuda:0"; None means "cuda" if available, else "cpu".

    Raises:
        FileNotFoundError: no such folder or model.
        ValueError: an unreadable checkpoint, another kind of model, a tokenizer that does not
            number the model's words, or an unavailable device.
    """
    model, tokenizer = _read(
        name,
        lambda found: (
            _with_all_weights(found, AutoModelForCausalLM, EgruForCausalLM),
            AutoTokenizer.from_pretrained(found),
        ),
    )
    _check_words(name, tokenizer, model.config.vocab_size)
    return model.to(find_device(device)).eval(), tokenizer


def load_classifier(name: str | Path, device: str | None = None) -> EgruForSequenceClassification:
    """Load with AutoModelForSequenceClassification, in evaluation mode.

    Args:
        name, device: as `load_checkpoint`.

    Raises:
        FileNotFoundError: no such folder or model.
        ValueError: an unreadable checkpoint, another kind of model, or an unavailable device.
    """
    kinds = AutoModelForSequenceClassification, EgruForSequenceClassification
    model = _read(name, lambda found: _with_all_weights(found, *kinds))
    return model.to(find_device(device)).eval()


def _with_all_weights(name: str | Path, auto: Any, kind: type) -> Any:
    """The model of this class; transformers would draw the weights that the files lack.

    Raises:
        ValueError: the model has another class, or a weight is missing.
    """
    model, info = auto.from_pretrained(name, output_loading_info=True)
    missing = sorted(info["missing_keys"])
    if not isinstance(model, kind) or missing:
        got = f"one without {shorten(missing)}" if missing else f"a {type(model).__name__}"
        raise ValueError(f"it must be a trained {kind.__name__}, got {got}")
    return model


def _read(name: str | Path, load: Callable[[str | Path], Any]) -> Any:
    """What `load` makes of a folder or name, or one clear error.

    Raises:
        FileNotFoundError: no such folder or model.
        ValueError: an unreadable checkpoint.
    """
    if str(name) in registry.checkpoints and not Path(name).exists():
        name = registry.checkpoints.get(str(name)).find()
    folder = Path(name)
    if folder.is_dir():
        check_sizes(folder)
    try:
        return load(name)
    except SafetensorError as error:
        raise ValueError(f"checkpoint {name}: the weights cannot be read: {error}") from error
    except (EvenfallError, ImportError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # tokenizers panics with a BaseException
        if folder.is_dir() or isinstance(error, ValueError):
            reason = shorten_text(" ".join(str(error).split()), 300) or type(error).__name__
            raise ValueError(f"checkpoint {name} cannot be loaded: {reason}") from error
        if not isinstance(error, OSError):
            raise
        raise FileNotFoundError(f"checkpoint {name} not found locally or on the Hub") from error


def _check_words(name: str | Path, tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """Raise ValueError unless each word of the tokenizer has a row of the embedding of its own."""
    words = tokenizer.get_vocab()
    twice = [index for index, count in Counter(words.values()).items() if count > 1]
    if twice:
        same = sorted(word for word, index in words.items() if index == twice[0])
        raise ValueError(
            f"checkpoint {name}: the tokenizer must give each word an id of its own, but "
            f"{shorten(same)} have {twice[0]}"
        )
    if words and max(words.values()) >= rows:
        raise ValueError(
            f"checkpoint {name}: the tokenizer has ids up to {max(words.values())}, but the model "
            f"has {rows} words"
        )


def check_sizes(folder: Path) -> None:
    """Compare config.json with the sizes of the weights, before memory is taken for a model.

    Raises:
        ValueError: a file cannot be read, or the model of config.json is more than 100 times as
            large as the weights; a pruned model can be stored in far fewer numbers than it has.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not files:
        return  # transformers says what is missing
    config = read_json(folder / "config.json", "checkpoint")
    try:
        stored = sum(map(_numbers, files))
    except SafetensorError as error:
        raise ValueError(f"checkpoint {folder}: the weights cannot be read: {error}") from error
    sizes = [config.get("embedding_size"), *_as_list(config.get("hidden_sizes"))]
    if not all(isinstance(size, int) for size in (*sizes, config.get("vocab_size"))):
        return  # the configuration says what is wrong
    described = config["vocab_size"] * sizes[0]
    described += sum(3 * units * (inputs + units + 2) for inputs, units in pairwise(sizes))
    if described + 1000 * len(sizes) > 100 * stored + _SMALL:
        raise ValueError(
            f"checkpoint {folder}: config.json describes a model of {shorten(described)} numbers, "
            f"but its weights have {stored:,}"
        )


_SMALL = 10**7
"""Numbers that every machine can hold."""


def _numbers(file: Path) -> int:
    """How many numbers a file of tensors has; reads its header only."""
    with safe_open(file, "pt") as tensors:
        shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118
    return sum(map(math.prod, shapes))


def _as_list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list) else [None]


def find_device(name: str | None) -> torch.device:
    """The device of that name; None means "cuda" if available, else "cpu".

    Raises:
        ValueError: it is not available.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {shorten(name)} is not available: {error}") from error
    return device


def record_events(model: EgruForCausalLM, tokens: torch.Tensor) -> list[torch.Tensor]:
    """The events of one sequence, (N,) ids -> for each layer (N, units), 0 or 1."""
    with torch.no_grad():
        ids = tokens[None].to(next(model.parameters()).device)
        return [e[0].cpu() for e in model(ids, output_events=True, logits_to_keep=1).events]
