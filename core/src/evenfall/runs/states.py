"""Plain states in files: JSON, and safetensors for tensors. No pickle is written.

A state consists of tensors, numbers, strings, None, and lists and dicts of these, such as the
state_dict of an optimiser.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenfall.files import file_aside, write_text
from evenfall.reading import reading

CALLBACKS = "callbacks"
"""The name of the states of a run's callbacks in a checkpoint."""
_TENSOR, _ITEMS = "__tensor__", "__items__"
_MARKS = (_TENSOR, _ITEMS)


def write_state(folder: str | Path, name: str, state: Any, where: str = "state") -> None:
    """Write a state to NAME.json and its tensors to NAME.safetensors.

    Tuples become lists. NAME.json is written last: if it exists, the state is complete.

    Args:
        folder: where to write.
        name: of the files.
        state: what to write.
        where: what the state is, for messages.

    Raises:
        TypeError: the state contains something else; the message names the place.
        OSError: a file cannot be written.
    """
    tensors: dict[str, Any] = {}
    _write(Path(folder), name, encode(state, tensors, where), tensors)


def write_callbacks(folder: Path, states: list[tuple[str, Any]]) -> None:
    """Write the state of each callback, given with its name, as the state `CALLBACKS`.

    Raises:
        TypeError: a state contains something else; the message names the callback and the place.
    """
    tensors: dict[str, Any] = {}
    plain = [encode(state, tensors, f"callback {name!r}: state") for name, state in states]
    _write(folder, CALLBACKS, plain, tensors)


def _write(folder: Path, name: str, plain: Any, tensors: dict[str, Any]) -> None:
    """The files of an encoded state."""
    file = folder / f"{name}.safetensors"
    if tensors:
        from safetensors.torch import save_file

        with file_aside(file) as aside:
            save_file(tensors, aside)
    else:
        file.unlink(missing_ok=True)
    write_text(folder / f"{name}.json", json.dumps(plain))


def read_state(folder: str | Path, name: str) -> Any:
    """The state that write_state wrote, tensors on the CPU.

    Where an earlier version wrote NAME.pt with torch.save, that file is read with weights_only.

    Raises:
        ValueError: a file is missing or damaged.
    """
    file = Path(folder) / f"{name}.json"
    old = file.with_suffix(".pt")
    if not file.is_file() and old.is_file():
        import torch

        with reading(old, f"checkpoint {folder}:"):
            return torch.load(old, map_location="cpu", weights_only=True)
    if not file.is_file():
        raise ValueError(f"checkpoint {folder}: {file.name} cannot be read: it is missing")
    with reading(file, f"checkpoint {folder}:"):
        tensors: dict[str, Any] = {}
        if file.with_suffix(".safetensors").is_file():
            from safetensors.torch import load_file

            tensors = load_file(file.with_suffix(".safetensors"))
        return decode(json.loads(file.read_text(encoding="utf-8")), tensors)


def encode(value: Any, tensors: dict[str, Any], where: str) -> Any:
    """The value as JSON has it; its tensors are added to `tensors`.

    Raises:
        TypeError: it contains something else; the message begins with `where`.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return _encode_mapping(value, tensors, where)
    if isinstance(value, list | tuple):
        return [encode(one, tensors, f"{where}[{i}]") for i, one in enumerate(value)]
    torch = sys.modules.get("torch")  # if it is not loaded, there is no tensor
    if torch is not None and isinstance(value, torch.Tensor):
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            kind = "meta" if value.is_meta else "quantised" if value.is_quantized else "sparse"
            raise TypeError(f"{where} is a {kind} tensor; want a dense one")
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone().contiguous()
        return {_TENSOR: name}
    raise TypeError(
        f"{where} is a {type(value).__name__}; a state consists of tensors, numbers, strings, "
        "None, and lists and dicts of these"
    )


def _encode_mapping(value: Mapping[Any, Any], tensors: dict[str, Any], where: str) -> Any:
    """JSON's keys are strings; a dict with integer keys becomes a list of pairs."""
    pairs = [(key, encode(one, tensors, f"{where}[{key!r}]")) for key, one in value.items()]
    for key in value:
        if isinstance(key, bool) or not isinstance(key, str | int) or key in _MARKS:
            raise TypeError(f"{where} has the key {key!r}; keys must be strings or integers")
    if all(isinstance(key, str) for key in value):
        return dict(pairs)
    return {_ITEMS: [list(pair) for pair in pairs]}


def decode(value: Any, tensors: Mapping[str, Any]) -> Any:
    """What `encode` encoded."""
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        if _ITEMS in value:
            return {key: decode(one, tensors) for key, one in value[_ITEMS]}
        return {key: decode(one, tensors) for key, one in value.items()}
    return [decode(one, tensors) for one in value] if isinstance(value, list) else value
