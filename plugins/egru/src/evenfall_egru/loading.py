"""Load a checkpoint's model and tokenizer, or raise one clear error."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from evenfall import registry

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
        ValueError: an unreadable checkpoint, another kind of model, or an unavailable device.
    """
    if str(name) in registry.checkpoints and not Path(name).exists():
        name = registry.checkpoints.get(str(name)).find()
    try:
        model = AutoModelForCausalLM.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except SafetensorError as error:
        raise ValueError(f"checkpoint {name}: the weights cannot be read: {error}") from error
    except (OSError, ValueError) as error:
        if Path(name).is_dir():
            raise ValueError(f"checkpoint {name} cannot be loaded: {error}") from error
        raise FileNotFoundError(f"checkpoint {name} not found locally or on the Hub") from error
    if not isinstance(model, EgruForCausalLM):
        raise ValueError(
            f"checkpoint {name} must be an EgruForCausalLM, got {type(model).__name__}"
        )
    return model.to(_device(device)).eval(), tokenizer


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} is not available: {error}") from error
    return device


def record_events(model: EgruForCausalLM, tokens: torch.Tensor) -> list[torch.Tensor]:
    """The events of one sequence, (N,) ids -> for each layer (N, units), 0 or 1."""
    with torch.no_grad():
        ids = tokens[None].to(next(model.parameters()).device)
        return [e[0].cpu() for e in model(ids, output_events=True, logits_to_keep=1).events]
