"""The states of callbacks in a checkpoint: JSON, and safetensors for tensors."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenfall.files import file_aside, write_text

FILE, TENSORS = "callbacks.json", "callbacks.safetensors"
_MARK = "__tensor__"


def write_states(folder: Path, states: list[tuple[str, Any]]) -> None:
    """Write the state of each callback, given with its name. A state consists of numbers, strings,
    None, tensors, and lists and dicts of these. Tuples become lists.

    Raises:
        TypeError: a state contains something else; the message names the callback and the place.
    """
    tensors: dict[str, Any] = {}
    plain = [_encode(state, tensors, f"callback {name!r}: state") for name, state in states]
    if tensors:
        from safetensors.torch import save_file

        with file_aside(folder / TENSORS) as aside:
            save_file(tensors, aside)
    write_text(folder / FILE, json.dumps(plain))


def read_states(folder: Path) -> list[Any]:
    """The states that write_states wrote, tensors on the CPU.

    Raises:
        ValueError: a file is missing or damaged.
    """
    try:
        plain = json.loads((folder / FILE).read_text(encoding="utf-8"))
        tensors: dict[str, Any] = {}
        if (folder / TENSORS).is_file():
            from safetensors.torch import load_file

            tensors = load_file(folder / TENSORS)
        return [_decode(state, tensors) for state in plain]
    except Exception as error:  # safetensors' error is not a ValueError
        raise ValueError(f"checkpoint {folder}: {FILE} cannot be read: {error}") from error


def _encode(value: Any, tensors: dict[str, Any], where: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key == _MARK:
                raise TypeError(f"{where} has the key {key!r}; keys must be strings")
        return {key: _encode(one, tensors, f"{where}[{key!r}]") for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(one, tensors, f"{where}[{i}]") for i, one in enumerate(value)]
    torch = sys.modules.get("torch")  # if it is not loaded, there is no tensor
    if torch is not None and isinstance(value, torch.Tensor):
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            kind = "meta" if value.is_meta else "quantised" if value.is_quantized else "sparse"
            raise TypeError(f"{where} is a {kind} tensor; want a dense one")
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone().contiguous()
        return {_MARK: name}
    raise TypeError(
        f"{where} is a {type(value).__name__}; a state consists of tensors, numbers, strings, "
        "None, and lists and dicts of these"
    )


def _decode(value: Any, tensors: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        if _MARK in value:
            return tensors[value[_MARK]]
        return {key: _decode(one, tensors) for key, one in value.items()}
    return [_decode(one, tensors) for one in value] if isinstance(value, list) else value
