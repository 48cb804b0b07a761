"""What a plugin registers: named references, imported on first use, each with its owner."""

from __future__ import annotations

import difflib
import importlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

from evenfall.errors import ReferenceImportError, RegistryError, UnknownNameError, closest

T = TypeVar("T")

_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")


@dataclass(frozen=True, slots=True)
class Owner:
    """Who registered something: a plugin and the distribution that ships it."""

    name: str
    distribution: str = "unknown"
    version: str = "unknown"

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.distribution} {self.version})"


@dataclass(frozen=True, slots=True)
class Entry:
    """One registration; `metadata` is JSON-able."""

    name: str
    reference: str
    owner: Owner
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The entry as JSON-able values."""
        return {
            "name": self.name,
            "reference": self.reference,
            "plugin": self.owner.name,
            "distribution": self.owner.distribution,
            "version": self.owner.version,
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, slots=True)
class _Lost:
    """A plugin that did not load, and the names it had registered before it failed."""

    owner: Owner
    reason: str
    names: frozenset[str]


class Registry(Generic[T]):
    """Named lazy references of one kind, safe to use from several threads.

    Args:
        kind: what one entry is called in messages, in the singular, such as "layer".
        prepare: called before every read; the module's own registries load the plugins here.
        reserved: names that the core uses itself and nobody may register.
    """

    def __init__(
        self,
        kind: str,
        prepare: Callable[[], object] = lambda: None,
        reserved: frozenset[str] = frozenset(),
    ) -> None:
        self.kind = kind
        self.reserved = reserved
        self.generation = 0
        self._prepare = prepare
        self._entries: dict[str, Entry] = {}
        self._lost: list[_Lost] = []
        self._lock = threading.RLock()

    def add(self, name: str, reference: str, owner: Owner | str, **metadata: Any) -> None:
        """Register `reference`, "package.module:Name" or a whole "package.module", under `name`.

        Raises:
            RegistryError: the name is taken (both owners are named) or an argument is malformed.
        """
        owner = Owner(owner) if isinstance(owner, str) else owner
        self._check(name, reference, metadata)
        with self._lock:
            taken = self._entries.get(name)
            if taken is not None:
                raise RegistryError(
                    f"{self.kind} {name!r} is registered by {taken.owner} as {taken.reference!r}; "
                    f"{owner} cannot register it again as {reference!r}"
                )
            self._entries[name] = Entry(name, reference, owner, MappingProxyType(dict(metadata)))
            self.generation += 1

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        self._prepare()
        with self._lock:
            return sorted(self._entries)

    def entries(self) -> list[Entry]:
        """Every registration, sorted by name."""
        self._prepare()
        with self._lock:
            return [self._entries[name] for name in sorted(self._entries)]

    def provenance(self, name: str) -> Entry:
        """The registration of `name`, nothing imported.

        Raises:
            UnknownNameError: nothing is registered under `name`; the message has the closest names,
                and the
                broken or blocked plugin that would have provided it, when one is known.
        """
        self._prepare()
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                raise UnknownNameError(self._unknown(name))
            return entry

    def get(self, name: str) -> T:
        """Import what is registered under `name`.

        Raises:
            UnknownNameError: nothing is registered under `name`.
            ReferenceImportError: the reference cannot be imported; the cause is chained.
        """
        entry = self.provenance(name)
        return cast(T, import_reference(entry.reference, f"{self.kind} {name!r} of {entry.owner}"))

    def remove_owner(self, owner: Owner) -> list[str]:
        """Forget everything about `owner` and return the names it had registered, sorted."""
        with self._lock:
            self._lost = [lost for lost in self._lost if lost.owner != owner]
            names = self.owned_by(owner)
            for name in names:
                del self._entries[name]
            self.generation += 1
            return names

    def owned_by(self, owner: Owner) -> list[str]:
        """The names that `owner` has registered so far, sorted; loads nothing."""
        with self._lock:
            return sorted(name for name, entry in self._entries.items() if entry.owner == owner)

    def lose(self, owner: Owner, reason: str, names: list[str]) -> None:
        """Remember a plugin that did not load, to name it when one of its names is asked for."""
        with self._lock:
            self._lost.append(_Lost(owner, reason, frozenset(names)))

    def blame(self, name: str) -> str:
        """Which plugin that did not load would have registered `name`, and why it did not, as the
        end of an error message; empty when none is known."""
        message = ""
        for lost in self._lost:
            if name in lost.names:
                message += f" {lost.owner} would provide it, but: {lost.reason}"
            elif _resembles(name, lost.owner.name):
                message += f" {lost.owner} may provide it, but: {lost.reason}"
        return message

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}, {sorted(self._entries)})"

    def _check(self, name: object, reference: object, metadata: dict[str, Any]) -> None:
        if not isinstance(name, str) or not name.strip():
            raise RegistryError(f"name of a {self.kind}: got {name!r}, want a non-empty string")
        if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
            raise RegistryError(
                f"reference of {self.kind} {name!r}: got {reference!r}, "
                'want "package.module:Name" or "package.module"'
            )
        if name in self.reserved:
            raise RegistryError(
                f"{self.kind} {name!r} is built into evenfall-core; take another name"
            )
        try:
            json.dumps(metadata)
        except (TypeError, ValueError) as error:
            raise RegistryError(
                f"metadata of {self.kind} {name!r}: got {metadata!r}, want JSON-able values "
                f"({error})"
            ) from error

    def _unknown(self, name: str) -> str:
        message = f"unknown {self.kind} {name!r}.{closest(name, self._entries)}"
        if not self._entries:
            message += f" No {self.kind} is registered: is its plugin installed?"
        return message + self.blame(name)


def import_reference(reference: str, what: str) -> object:
    """Import "package.module:Name", or "package.module" itself; errors begin with `what`.

    Raises:
        ReferenceImportError: the module fails to import or lacks the name; the cause is chained.
    """
    module_name, _, qualified_name = reference.partition(":")
    try:
        value: object = _module(module_name)
        for attribute in filter(None, qualified_name.split(".")):
            value = getattr(value, attribute)
    except Exception as error:
        raise ReferenceImportError(
            f"{what}: cannot import {reference!r}: {type(error).__name__}: {error}"
        ) from error
    return value


def _module(name: str) -> object:
    try:
        return importlib.import_module(name)
    except SystemExit as error:
        raise ImportError(f"the module exits when it is imported (code {error.code!r})") from error


def _resembles(name: str, plugin: str) -> bool:
    name, plugin = (re.sub(r"[\W_]", "", word).casefold() for word in (name, plugin))
    return bool(plugin) and (
        name.startswith(plugin) or bool(difflib.get_close_matches(name, [plugin]))
    )
