"""The counter of a module, found by the identity of its class, never by the name of the class."""

from __future__ import annotations

from typing import Any

from evenfall import registry
from evenfall.class_lookup import ClassTable, inherits

from .statements import Counter


def counter_for(module: Any) -> Counter | None:
    """The counter that knows `module`, or None.

    Wrappers of torch.compile, DDP, FSDP and parametrisation are ignored. The class of the module,
    or a base class, must be identical to the registered class, and its `forward` must be the one
    that runs. So these are unknown: a class of the same name in another module, a subclass with its
    own forward, and a module whose forward was replaced.

    Raises:
        RegistryError: the registered reference is not a Counter.
        ReferenceImportError: it cannot be imported.
    """
    return CounterTable().find(module)


class CounterTable:
    """The registered counters by class, for the classes that are loaded when it is made."""

    def __init__(self) -> None:
        self._table = ClassTable(registry.counters.entries())

    def find(self, module: Any) -> Counter | None:
        """As `counter_for`."""
        found = self._table.find(module)
        if found is None:
            return None
        counter = registry.counters.get_as(found[0].name, Counter)
        return counter if inherits(module, found[1], counter.methods) else None
