"""What is registered for the class of a module: found by the identity of the class, not its name.

Counters, lowerings and splitters are registered under the public path of a class.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from evenfall.entries import Entry

_WRAPPERS = (
    ("torch._dynamo.eval_frame", "OptimizedModule", "_orig_mod"),
    ("torch.nn.parallel.distributed", "DistributedDataParallel", "module"),
    ("torch.nn.parallel.data_parallel", "DataParallel", "module"),
    ("torch.distributed.fsdp", "FullyShardedDataParallel", "module"),
)


class ClassTable:
    """Registrations by class, for the classes that are loaded when it is made.

    Args:
        entries: registrations whose names are public paths of classes, "package.Class".
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._by_class: dict[Any, Entry] = {}
        self._lazy: dict[str, list[Entry]] = {}
        for entry in entries:
            kind = _find_loaded(entry.name)
            if kind is not None:
                self._by_class[kind] = entry
            else:
                self._lazy.setdefault(entry.name.rpartition(".")[2], []).append(entry)

    def find(self, module: Any) -> tuple[Entry, type] | None:
        """The entry of the module's class, or of its nearest registered base class, and the class
        that is registered. None if there is none, or if the module's own forward was replaced."""
        module = without_wrappers(module)
        kind = class_of(module)
        if "forward" in getattr(module, "__dict__", ()) and not _is_hooked_by_accelerate(
            module, kind
        ):
            return None
        for base in kind.__mro__:
            entry = self._entry(base)
            if entry is not None:
                return entry, base
        return None

    def _entry(self, kind: type) -> Entry | None:
        """The entry of exactly this class."""
        if kind in self._by_class:
            return self._by_class[kind]
        for entry in self._lazy.get(kind.__name__, []):
            if _find_lazy(entry.name) is kind:
                return entry
        return None


def inherits(module: Any, base: type, methods: tuple[str, ...]) -> bool:
    """Whether the module's class has these methods from `base` and overrides none of them."""
    kind = class_of(without_wrappers(module))
    return all(getattr(kind, name, None) is getattr(base, name) for name in methods)


def without_wrappers(module: Any) -> Any:
    """The module inside the wrappers of torch.compile, DDP and FSDP, or `module` itself."""
    wrappers = list(_loaded_wrappers())
    while True:
        for kind, attribute in wrappers:
            if isinstance(module, kind):
                module = getattr(module, attribute)
                break
        else:
            return module


def is_sharded(module: Any) -> bool:
    """Whether FSDP, of either version, shards a module or a part of it."""
    fsdp = sys.modules.get("torch.distributed.fsdp")  # slow to import, and needed to shard
    kinds = (fsdp.FSDPModule, fsdp.FullyShardedDataParallel) if fsdp else ()
    return any(isinstance(part, kinds) for part in module.modules())


def class_of(module: Any) -> type:
    """The module's class, or its class before parametrisation."""
    parametrize = sys.modules.get("torch.nn.utils.parametrize")
    if parametrize is None:
        return type(module)
    kind: type = parametrize.type_before_parametrizations(module)
    return kind


def _loaded_wrappers() -> Iterator[tuple[type, str]]:
    for name, kind, attribute in _WRAPPERS:
        wrapper = vars(sys.modules[name]).get(kind) if name in sys.modules else None
        if wrapper is not None:
            yield wrapper, attribute


def _is_hooked_by_accelerate(module: Any, kind: type) -> bool:
    """Whether accelerate replaced forward by one that moves tensors and calls the old one."""
    old = getattr(module, "_old_forward", None)
    forward = getattr(kind, "forward", None)
    return hasattr(module, "_hf_hook") and getattr(old, "__func__", None) is forward


def _find_loaded(path: str) -> Any | None:
    """The object at a public path, or None if it is not loaded; imports nothing."""
    value, names = _module_of(path)
    for name in names:
        value = vars(value).get(name) if hasattr(value, "__dict__") else None
    return value


def _find_lazy(path: str) -> Any | None:
    """As `_find_loaded`, but a loaded module may import the name on demand."""
    value, names = _module_of(path)
    for name in names:
        try:
            value = getattr(value, name, None)
        except Exception:  # it needs a package that is not installed, so no object has this class
            return None
    return value


def _module_of(path: str) -> tuple[Any | None, list[str]]:
    """The innermost loaded module on a path, or None, and the names after it."""
    parts = path.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:length]))
        if module is not None:
            return module, parts[length:]
    return None, parts
