"""Our operations in the mapping of the `kernels` package while the patch is applied.

`kernels.register_kernel_mapping` has no counterpart that undoes it, so this keeps what stood there.
The package files entries by the name of an operation and the type of a device, in objects with a
method `insert`. Here each is set aside and a copy takes its place. Ours are inserted in the public
way; what others insert after them is recorded, and goes to the original when ours go. So afterwards
the mapping is what it would be without us.

A mapping belongs to a context: inside `use_kernel_mapping` ours are registered for that block, and
a block that began while the patch was applied keeps its copy of ours to its end.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from copy import deepcopy
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .hub_kernels import kernel_mapping

logger = logging.getLogger(__name__)

Mapping = dict[str, dict[str, Any]]
"""Name of an operation -> type of a device -> entries, as `kernels` holds it."""

_NOT_APPLIED = "the patch is not applied"


def misfit() -> str | None:
    """Why `kernels` cannot be registered with, or None where a fitting version is installed."""
    try:
        found = version("kernels")
    except PackageNotFoundError:
        return "kernels is not installed"
    host = importlib.import_module("transformers.utils.import_utils")
    if host.is_kernels_available():
        return None
    wanted = f"kernels>={host.KERNELS_MIN_VERSION},<{host.KERNELS_MAX_VERSION}"
    return f"kernels {found} is installed, transformers {version('transformers')} wants {wanted}"


class HubMapping:
    """The registration of the target transformers.

    Attributes:
        reason: why ours are not registered now; None while they are.
    """

    def __init__(self) -> None:
        self.reason: str | None = _NOT_APPLIED
        self._mapping: Mapping = {}
        self._added: list[str] = []
        self._slots: list[_Slot] = []

    def place(self, what: str) -> None:
        """Register ours where a fitting version of `kernels` is installed; else log why not."""
        self.reason = misfit()
        if self.reason is not None:
            logger.info("%s: not registered with kernels: %s", what, self.reason)
            return
        try:
            self._register()
        except Exception as error:  # the patch works without, whatever that package has become
            self.remove()
            self.reason = f"kernels {version('kernels')} is not as expected: {error!r}"
            logger.warning("%s: not registered with kernels: %s", what, self.reason)

    def remove(self) -> None:
        """Restore the entries that stood there; what others registered since stays."""
        for slot in self._slots:
            slot.give_back()
        for name in self._added:
            if self._mapping.get(name) == {}:
                del self._mapping[name]
        self.reason, self._mapping, self._added, self._slots = _NOT_APPLIED, {}, [], []

    def _register(self) -> None:
        register, variable = _register_and_variable()
        rehearsed = _rehearse(register, variable)
        self._mapping = mapping = variable.get()
        self._added = [name for name in rehearsed if name not in mapping]
        for name, devices in rehearsed.items():
            standing = mapping.setdefault(name, {})
            for device, empty in devices.items():
                self._slots.append(_slot(standing, device, empty))
        try:
            register(kernel_mapping(), inherit_mapping=True)
        finally:
            for slot in self._slots:
                slot.placed.since.clear()


REGISTRATION = HubMapping()
"""The one of the patch "mamba"."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """The entries of one operation on one type of device.

    Attributes:
        standing: type of a device -> entries of this operation.
        device: the type of device.
        placed: where ours are inserted, beside a copy of those that stood there.
        others: the original of those that stood there, or an empty object.
        stood: whether there was an original.
    """

    standing: dict[str, Any]
    device: str
    placed: Any
    others: Any
    stood: bool

    def give_back(self) -> None:
        """Put the others' entries back, unless somebody has put an object of theirs here."""
        since = self.placed.since
        if self.standing.get(self.device) is not self.placed:
            return
        for arguments in since:
            self.others.insert(*arguments)
        if self.stood or since:
            self.standing[self.device] = self.others
        else:
            del self.standing[self.device]


def _slot(standing: dict[str, Any], device: str, empty: Any) -> _Slot:
    stood = device in standing
    others = standing[device] if stood else empty
    placed = _recording(deepcopy(others))
    standing[device] = placed
    return _Slot(standing, device, placed, others, stood)


def _recording(entries: Any) -> Any:
    """The same object, whose `insert` from now on writes its arguments down in `since`."""
    plain = type(entries)

    def insert(self: Any, *arguments: Any) -> None:
        plain.insert(self, *arguments)
        self.since.append(arguments)

    # An attribute and no closure, so that the copies of `use_kernel_mapping` have their own list.
    entries.since = []
    entries.__class__ = type(plain.__name__, (plain,), {"insert": insert})
    return entries


def _register_and_variable() -> tuple[Callable[..., None], ContextVar[Mapping]]:
    """`kernels.register_kernel_mapping`, and the variable whose dictionary it writes to.

    The variable is private to the package, which has no public way to read its mapping.
    """
    register = importlib.import_module("kernels").register_kernel_mapping
    used = "_KERNEL_MAPPING" in register.__code__.co_names
    variable = register.__globals__.get("_KERNEL_MAPPING")
    if not used or not isinstance(variable, ContextVar):
        raise TypeError("register_kernel_mapping uses no context variable _KERNEL_MAPPING")
    mapping = variable.get()
    if type(mapping) is not dict or any(type(devices) is not dict for devices in mapping.values()):
        raise TypeError("_KERNEL_MAPPING does not hold a dictionary of dictionaries")
    return register, variable


def _rehearse(register: Callable[..., None], variable: ContextVar[Mapping]) -> Mapping:
    """Register ours where nobody sees it, check what came of it, and return it without ours."""

    def alone() -> Mapping:
        variable.set({})
        register(kernel_mapping(), inherit_mapping=True)
        return variable.get()

    found, wanted = copy_context().run(alone), kernel_mapping()
    if {name: set(devices) for name, devices in found.items()} != {
        name: set(devices) for name, devices in wanted.items()
    }:
        raise TypeError("register_kernel_mapping does not file by operation and type of device")
    return {
        name: {device: type(entries)() for device, entries in devices.items()}
        for name, devices in found.items()
    }
