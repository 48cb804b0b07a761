"""Conversion between a model's arguments and JSON values."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..nn.block import StreamBlock
from ..nn.conv import StreamConv

# Entries of config.json that are not arguments of the network: ours, and those of transformers.
OTHER_KEYS = frozenset(
    {
        "_name_or_path", "architectures", "auto_map", "dtype", "evenfall_stream_version",
        "id2label", "label2id", "model_type", "problem_type", "torch_dtype",
        "transformers_version",
    }
)  # fmt: skip


def argument_names(cls: type) -> dict[str, inspect.Parameter]:
    """Every argument of a model class, including those of its blocks and layers."""
    return {**_own_arguments(cls), **block_options(cls)}


def block_options(cls: type) -> dict[str, inspect.Parameter]:
    """The options of blocks and layers that a model class takes in `**block`.

    Empty if it takes none; without those that are arguments of the model itself.
    """
    parameters = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    if all(one.kind is not one.VAR_KEYWORD for one in parameters.values()):
        return {}
    options = {
        name: parameter
        for part in (StreamConv, StreamBlock)
        for name, parameter in inspect.signature(part.__init__).parameters.items()
        if parameter.default is not parameter.empty
    }
    return {name: one for name, one in options.items() if name not in parameters}


def _own_arguments(cls: type) -> dict[str, inspect.Parameter]:
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]
    return {one.name: one for one in parameters if one.kind is not one.VAR_KEYWORD}


def call_arguments(cls: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of one call of a model class, including defaults.

    Raises:
        TypeError: a value is not None, a bool, number, string, or a sequence or mapping of those.
    """
    parameters = _own_arguments(cls)
    values = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    values |= dict(zip(parameters, args, strict=False))
    values |= kwargs
    return {name: plain(name, value) for name, value in values.items()}


def arguments_with_options(
    cls: type, arguments: Mapping[str, Any], block: Mapping[str, Any], own: Collection[str]
) -> dict[str, Any]:
    """The arguments of a model with all options of its blocks and layers.

    Args:
        cls: the model class.
        arguments: the result of `call_arguments`.
        block: the options that are not at their defaults.
        own: names of the options that the model sets itself; the result omits them.
    """
    parameters = block_options(cls)
    options = {name: plain(name, block.get(name, one.default)) for name, one in parameters.items()}
    every = {**options, **arguments}
    return {n: value for n, value in every.items() if n not in parameters or n not in own}


def plain(name: str, value: Any) -> Any:
    """A value as JSON returns it: sequences as lists, NumPy's numbers as Python's."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(f"{name}[{key!r}]", one) for key, one in value.items()}
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (str, bytes)):
        return [plain(f"{name}[{index}]", one) for index, one in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"{name} must be finite, got {value}; config.json cannot store it")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"{name} must be None, a bool, number, string or a sequence of those, "
        f"got {type(value).__name__}"
    )


def check_arguments(cls: type, config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The entries of a configuration that are arguments of the class.

    Raises:
        ValueError: an entry is unknown, or a required one is missing.
    """
    parameters = argument_names(cls)
    values = {name: value for name, value in config.items() if name not in OTHER_KEYS}
    for name in values:
        if name not in parameters:
            matches = difflib.get_close_matches(name, parameters, n=3)
            hint = f"; closest are {matches}" if matches else ""
            raise ValueError(f"{where}: {cls.__name__} has no argument {name!r}{hint}")
    for name, parameter in _own_arguments(cls).items():
        if parameter.default is parameter.empty and name not in values:
            raise ValueError(f"{where}: the argument {name!r} of {cls.__name__} is missing")
    return values
