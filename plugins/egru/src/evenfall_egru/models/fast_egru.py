"""Outputs, caches and settings of transformers in fewer steps, for one token at a time.

Its output classes look up the names of all fields for each field, a cache asks the configuration
for each layer, and reading a setting takes three calls. In a compiled graph none of it takes time,
so there transformers' own code runs.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import fields
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache

_NAMES: dict[type, list[str]] = {}
_EMPTY: dict[tuple[type, int], Cache] = {}


class _Settings:
    """The fields of a configuration as attributes; everything else is asked of it."""

    __slots__ = ("__dict__", "_config")
    _config: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


def settings_of(config: Any) -> Any:
    """A view of a configuration that is read in one step; a change of either is one of both."""
    if torch.compiler.is_compiling():
        return config
    view = _Settings()
    view._config = config
    view.__dict__ = object.__getattribute__(config, "__dict__")
    return view


def make_output(kind: Any, **values: Any) -> Any:
    """kind(**values) for an output class of transformers whose first field is a tensor or None."""
    if torch.compiler.is_compiling():
        return kind(**values)
    names = _NAMES.get(kind)
    if names is None:
        names = _NAMES[kind] = [field.name for field in fields(kind)]
    output = OrderedDict.__new__(kind)
    attributes = output.__dict__
    for name in names:
        value = values.get(name)
        attributes[name] = value
        if value is not None:
            OrderedDict.__setitem__(output, name, value)
    return output


def new_cache(config: Any, layers: int) -> Cache:
    """DynamicCache(config=config) for a model with this number of layers."""
    if torch.compiler.is_compiling():
        return DynamicCache(config=config)
    key = type(config), layers
    empty = _EMPTY.get(key)
    if empty is None:
        empty = _EMPTY[key] = DynamicCache(config=config)
    cache = object.__new__(DynamicCache)
    cache.__dict__.update(empty.__dict__)
    cache.layers = [type(layer)() for layer in empty.layers]
    return cache


__all__ = ["make_output", "new_cache", "settings_of"]
