"""Which counter knows a module: by the identity of its class, never by a class's own name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from evenfall import registry
from evenfall.entries import Entry
from evenfall.errors import RegistryError

from .statements import Counter

_WRAPPERS = (
    ("torch._dynamo.eval_frame", "OptimizedModule", "_orig_mod"),
    ("torch.nn.parallel.distributed", "DistributedDataParallel", "module"),
    ("torch.nn.parallel.data_parallel", "DataParallel", "module"),
    ("torch.distributed.fsdp", "FullyShardedDataParallel", "module"),
)


def counter_for(module: Any) -> Counter | None:
    """The counter that knows `module`, or None.

    Wrappers of torch.compile, DDP, FSDP and parametrisation are looked through. The class of the
    module, or one that it inherits from, must be the very class that is registered, and its
    `forward` the one that runs: a class of another module with the same name, a subclass with a
    forward of its own, and a module whose forward was replaced are not known.

    Raises:
        RegistryError: the registered reference is no Counter.
        ReferenceImportError: it cannot be imported.
    """
    return CounterTable().find(module)


class CounterTable:
    """The registered counters by class, for the classes that are loaded now."""

    def __init__(self) -> None:
        self._by_class: dict[Any, Entry] = {}
        self._lazy: dict[str, list[Entry]] = {}
        for entry in registry.counters.entries():
            found = _loaded(entry.name)
            if found is not None:
                self._by_class[found] = entry
            else:
                self._lazy.setdefault(entry.name.rpartition(".")[2], []).append(entry)

    def find(self, module: Any) -> Counter | None:
        """As `counter_for`."""
        module = without_wrappers(module)
        kind = class_of(module)
        if "forward" in vars(module) and not _is_hooked_by_accelerate(module, kind):
            return None
        for base in kind.__mro__:
            entry = self._entry(base)
            if entry is not None:
                counter = _load(entry)
                same = all(getattr(kind, m, None) is getattr(base, m) for m in counter.methods)
                return counter if same else None
        return None

    def _entry(self, kind: type) -> Entry | None:
        """The entry of this very class."""
        if kind in self._by_class:
            return self._by_class[kind]
        for entry in self._lazy.get(kind.__name__, []):
            if _offered(entry.name) is kind:
                return entry
        return None


def without_wrappers(module: Any) -> Any:
    """The module inside torch.compile's, DDP's and FSDP's wrappers, or `module` itself."""
    wrappers = list(_loaded_wrappers())
    while True:
        for kind, attribute in wrappers:
            if isinstance(module, kind):
                module = getattr(module, attribute)
                break
        else:
            return module


def class_of(module: Any) -> type:
    """The module's class, or the one that it had before it was parametrised."""
    parametrize = sys.modules.get("torch.nn.utils.parametrize")
    if parametrize is None:
        return type(module)
    found: type = parametrize.type_before_parametrizations(module)
    return found


def _loaded_wrappers() -> Iterator[tuple[type, str]]:
    for name, kind, attribute in _WRAPPERS:
        found = vars(sys.modules[name]).get(kind) if name in sys.modules else None
        if found is not None:
            yield found, attribute


def _is_hooked_by_accelerate(module: Any, kind: type) -> bool:
    """Whether accelerate replaced forward by one that moves tensors and calls the old one."""
    old = getattr(module, "_old_forward", None)
    return hasattr(module, "_hf_hook") and getattr(old, "__func__", None) is kind.forward  # type: ignore[attr-defined]


def _loaded(path: str) -> Any | None:
    """What a public path stands for, where it is loaded; imports nothing."""
    found, names = _module_of(path)
    for name in names:
        found = vars(found).get(name) if hasattr(found, "__dict__") else None
    return found


def _offered(path: str) -> Any | None:
    """As `_loaded`, where a module that is loaded imports the name on demand."""
    found, names = _module_of(path)
    for name in names:
        try:
            found = getattr(found, name, None)
        except Exception:  # what it needs is not installed, so no object has this class
            return None
    return found


def _module_of(path: str) -> tuple[Any | None, list[str]]:
    """The innermost module on a path that is loaded, None without one, and the names after it."""
    parts = path.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:length]))
        if module is not None:
            return module, parts[length:]
    return None, parts


def _load(entry: Entry) -> Counter:
    counter = registry.counters.get(entry.name)
    if not isinstance(counter, Counter):
        raise RegistryError(
            f"counter {entry.name!r} of {entry.owner}: {entry.reference!r} is a "
            f"{type(counter).__name__}, want an evenfall.counting.Counter"
        )
    return counter
