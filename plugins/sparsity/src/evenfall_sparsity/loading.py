"""Load any checkpoint: of a registered plugin, or of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from evenfall import registry
from evenfall.checkpoints import model_type
from evenfall.hub.checking import CONFIG


def load_model(name: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """The model, in evaluation mode, and what comes with it, such as a tokenizer.

    Args:
        name: a folder with a config.json, a registered checkpoint, or a model on the Hub.

    Raises:
        FileNotFoundError: no such folder or model.
        ValueError: it cannot be loaded, or contains no module.
        ImportError: transformers is needed and not installed.
    """
    if (Path(name) / CONFIG).is_file():
        entry = _registered(model_type(name))
        if entry is None:
            loaded = _from_transformers(name)
        else:
            loaded = registry.checkpoints.get(entry).load_folder(name)
    elif name in registry.checkpoints.names():
        loaded = registry.checkpoints.get(name).load()
    elif Path(name).exists():
        raise FileNotFoundError(f"checkpoint {name} has no {CONFIG}")
    else:
        loaded = _from_transformers(name)
    model, *others = loaded if isinstance(loaded, tuple) else (loaded,)
    if not isinstance(model, nn.Module):
        raise ValueError(f"checkpoint {name} is a {type(model).__name__}, not a torch module")
    return model.eval(), tuple(others)


def _registered(kind: str) -> str | None:
    """The name of a registered checkpoint whose folders have this model_type."""
    for entry in registry.checkpoints.entries():
        if kind in entry.metadata.get("model_types", ()):
            return entry.name
    return None


def _from_transformers(name: str) -> tuple[Any, ...]:
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            f"checkpoint {name} needs transformers: pip install 'evenfall-sparsity[transformers]'"
        ) from error
    try:
        config = transformers.AutoConfig.from_pretrained(name)
        kinds = getattr(config, "architectures", None) or []
        kind = next(
            (getattr(transformers, one) for one in kinds if hasattr(transformers, one)), None
        )
        model = (kind or transformers.AutoModel).from_pretrained(name)
    except (OSError, ValueError) as error:
        if Path(name).is_dir():
            raise ValueError(f"checkpoint {name} cannot be loaded: {error}") from error
        raise FileNotFoundError(f"checkpoint {name} not found locally or on the Hub") from error
    try:
        return model, transformers.AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError):
        return (model,)  # a model of images or sound has no tokenizer
