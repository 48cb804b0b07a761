"""A checkpoint folder with the model's code, for machines without Evenfall."""

from __future__ import annotations

import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from evenfall.files import written_aside

from ..models.pretrained_egru import EgruPreTrainedModel

_HERE = Path(__file__).parent
_MODELS = _HERE.parent / "models"
_SCAN = {
    "reference_egru.py": "__init__.py",
    "checks.py": "checks.py",
    "packing.py": "packing.py",
    "reference.py": "reference.py",
}
_AUTO_MAP = {
    "AutoConfig": "configuration_egru.EgruConfig",
    "AutoModel": "modeling_egru.EgruModel",
    "AutoModelForCausalLM": "modeling_egru.EgruForCausalLM",
    "AutoModelForSequenceClassification": "classification_egru.EgruForSequenceClassification",
    "AutoModelForTokenClassification": "classification_egru.EgruForTokenClassification",
}
_RELATIVE = re.compile(r"^\s*from\s+\.(\S+)\s+import", re.MULTILINE)


def save_for_hub(
    model: EgruPreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    replace: bool = False,
) -> Path:
    """Save model, tokenizer and code, so that the folder needs only torch and transformers.

    `from_pretrained(folder)` of the Auto class uses the classes of evenfall-egru where it is
    imported. Elsewhere, with `trust_remote_code=True`, it uses those in the folder, which compute
    the same with plain PyTorch.

    Args:
        model: the model to save; it is not changed.
        tokenizer: its tokenizer; None for a classifier of vectors.
        folder: the folder to make; it is written completely or not at all.
        dtype: dtype of the weights in the file; a loaded model still has its own dtype.
        replace: replace an existing folder.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder exists and `replace` is off.
        ValueError: a dtype for a quantised model.
    """
    with written_aside(folder, replace=replace) as aside:
        fill_hub_folder(model, tokenizer, aside, dtype=dtype)
        add_code(aside)
    return Path(folder)


def fill_hub_folder(
    model: EgruPreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Save model and tokenizer into an existing folder, without the code.

    Args:
        model, tokenizer, dtype: as `save_for_hub`.
        folder: the folder.
    """
    model.save_pretrained(folder, state_dict=_cast(model, dtype))
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)


def add_code(folder: Path) -> None:
    """Add the model's code to a checkpoint folder, and reference it in config.json.

    Raises:
        RuntimeError: as copy_code.
    """
    config = folder / "config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    text = json.dumps({**values, "auto_map": _AUTO_MAP}, indent=2, sort_keys=True)
    config.write_text(text + "\n", encoding="utf-8")
    copy_code(folder)


def copy_code(folder: Path) -> None:
    """Copy the model's modules and the plain scan into one folder, as remote code requires.

    Raises:
        RuntimeError: a copied module imports one that is not copied.
    """
    for source in sorted(_MODELS.glob("*_egru.py")):
        shutil.copyfile(source, folder / source.name)
    scan = find_spec("evenfall_kernels.ops.egru_scan")
    if scan is None or scan.origin is None:
        raise RuntimeError("evenfall-kernels is not installed: its egru_scan cannot be copied")
    for name, source_name in _SCAN.items():
        shutil.copyfile(Path(scan.origin).with_name(source_name), folder / name)
    for source in sorted((_HERE / "hub_code").glob("*.py")):
        shutil.copyfile(source, folder / source.name)
    for module in sorted(folder.glob("*.py")):
        for wanted in _RELATIVE.findall(module.read_text(encoding="utf-8")):
            if not (folder / f"{wanted}.py").is_file():
                raise RuntimeError(f"{module.name} imports .{wanted}, which is not copied")


def _cast(model: EgruPreTrainedModel, dtype: torch.dtype | None) -> dict[str, torch.Tensor] | None:
    """The weights in another dtype; tied weights stay tied."""
    if dtype is None:
        return None
    if getattr(model.config, "quantization_config", None) is not None:
        raise ValueError(f"dtype must be None for a quantised model, got {dtype}")
    copies: dict[int, torch.Tensor] = {}
    state = model.state_dict()
    return {n: copies.setdefault(t.data_ptr(), t.to(dtype, copy=True)) for n, t in state.items()}
