"""Registry entries: named references that are imported on first use, each with its owner."""

from __future__ import annotations

import difflib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

from evenfall.errors import (
    RegistryError,
    UnknownNameError,
    closest,
    shorten,
)
from evenfall.owners import CORE, Owner
from evenfall.references import import_reference

T = TypeVar("T")

_ONE_LINE = frozenset({"summary", "host", "metric", "folder", "hub_id", "revision"})
"""Metadata that tables show or other code looks up: one line of text, if it is there."""

_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")


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
class _Failure:
    """A plugin that did not load, and the names that it had registered before."""

    owner: Owner
    reason: str
    names: frozenset[str]


class Registry(Generic[T]):
    """Named references of one kind, imported on first use. Safe to use from several threads.

    A name belongs to one owner. If several plugins claim it, the one with the best rank gets it,
    whatever the order in which they register. When that one is removed, the next one gets it.

    Args:
        kind: the singular that messages use, such as "layer".
        prepare: called before every read; `evenfall.registry` loads the plugins here.
        reserved: names of the core that nobody may register.
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
        self._claims: dict[str, list[Entry]] = {}  # the owner's first
        self._reserved_claims: list[Entry] = []
        self._failures: list[_Failure] = []
        self._lock = threading.RLock()

    def add(self, name: str, reference: str, owner: Owner | str, **metadata: Any) -> None:
        """Register `reference`, "package.module:Name" or a whole "package.module", under `name`.

        Raises:
            RegistryError: the name is registered already (the message names both owners), or an
                argument is malformed.
        """
        owner = Owner(owner) if isinstance(owner, str) else owner
        entry = self._entry(name, reference, owner, metadata)
        if name in self.reserved:
            raise RegistryError(f"{self._built_in(name)}; choose another name")
        with self._lock:
            self._put(entry, self._claims.get(name, []))

    def claim(self, name: str, reference: str, owner: Owner, **metadata: Any) -> None:
        """As `add`, but the name may belong to the core or to another owner.

        Raises:
            RegistryError: `owner` has registered the name already, or an argument is malformed.
        """
        entry = self._entry(name, reference, owner, metadata)
        with self._lock:
            if name in self.reserved:
                self._reserved_claims.append(entry)
            else:
                self._put(entry, [one for one in self._claims.get(name, []) if one.owner == owner])

    def conflicts(self, owner: Owner) -> list[str]:
        """For each name that `owner` claims and did not get, a clause that says whose it is."""
        with self._lock:
            reserved = [one.name for one in self._reserved_claims if one.owner == owner]
            return [self._built_in(name) for name in reserved] + [
                f"{self.kind} {name!r} belongs to {claims[0].owner}"
                for name, claims in sorted(self._claims.items())
                if any(one.owner == owner for one in claims[1:])
            ]

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        self._prepare()
        with self._lock:
            return sorted(self._claims)

    def entries(self) -> list[Entry]:
        """Every registration, sorted by name."""
        self._prepare()
        with self._lock:
            return [self._claims[name][0] for name in sorted(self._claims)]

    def provenance(self, name: str) -> Entry:
        """The registration of `name`; imports nothing.

        Raises:
            UnknownNameError: nothing is registered under `name`. The message has the closest names
                and, if known, the broken or blocked plugin that would have provided it.
        """
        self._prepare()
        with self._lock:
            if name not in self._claims:
                raise UnknownNameError(self._unknown(name))
            return self._claims[name][0]

    def get(self, name: str) -> T:
        """Import what is registered under `name`.

        Raises:
            UnknownNameError: nothing is registered under `name`.
            ReferenceImportError: the reference cannot be imported; the cause is chained.
        """
        entry = self.provenance(name)
        return cast(T, import_reference(entry.reference, self.described(entry)))

    def get_as(self, name: str, kind: type[Any]) -> T:
        """As `get`, and what is imported must be an instance of `kind`.

        Raises:
            UnknownNameError, ReferenceImportError: as `get`.
            RegistryError: a plugin registered another object.
        """
        value = self.get(name)
        if isinstance(value, kind):
            return value
        entry = self.provenance(name)
        package = ".".join(kind.__module__.split(".")[:2])
        raise RegistryError(
            f"{self.described(entry)}: {entry.reference!r} is a {type(value).__name__}, want an "
            f"{package}.{kind.__name__}"
        )

    def described(self, entry: Entry) -> str:
        """An entry as messages name it."""
        return f"{self.kind} {entry.name!r} of {entry.owner}"

    def remove_owner(self, owner: Owner) -> list[str]:
        """Forget everything about `owner` and return the names that it had registered, sorted."""
        with self._lock:
            self._failures = [one for one in self._failures if one.owner != owner]
            self._reserved_claims = [one for one in self._reserved_claims if one.owner != owner]
            names = []
            for name, claims in list(self._claims.items()):
                others = [one for one in claims if one.owner != owner]
                if len(others) < len(claims):
                    names.append(name)
                    self._claims[name] = others
                if not others:
                    del self._claims[name]
            self.generation += 1
            return sorted(names)

    def owned_by(self, owner: Owner) -> list[str]:
        """The names that belong to `owner`, sorted; loads nothing."""
        with self._lock:
            names = (name for name, claims in self._claims.items() if claims[0].owner == owner)
            return sorted(names)

    def record_failure(self, owner: Owner, reason: str, names: list[str]) -> None:
        """Remember a plugin that did not load, and the names that it would have registered."""
        with self._lock:
            self._failures.append(_Failure(owner, reason, frozenset(names)))

    def failure_hint(self, name: str) -> str:
        """The end of an error message: which plugin would have registered `name`, and why it did
        not load; empty if none is known."""
        message = ""
        for failure in self._failures:
            if name in failure.names:
                message += f" {failure.owner} would provide it, but {failure.reason}"
            elif _resembles(name, failure.owner.name):
                message += f" {failure.owner} may provide it, but {failure.reason}"
        return message

    def renew_lock(self) -> None:
        """Replace the lock: in a forked process, the thread that held it does not exist."""
        self._lock = threading.RLock()

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}, {sorted(self._claims)})"

    def _put(self, entry: Entry, rivals: list[Entry]) -> None:
        if rivals:
            raise RegistryError(
                f"{self.kind} {entry.name!r} is already registered by {rivals[0].owner} as "
                f"{rivals[0].reference!r}; {entry.owner} cannot register it as "
                f"{entry.reference!r}"
            )
        claims = [*self._claims.get(entry.name, []), entry]
        self._claims[entry.name] = sorted(claims, key=lambda one: one.owner.rank(entry.name))
        self.generation += 1

    def _entry(self, name: str, reference: str, owner: Owner, metadata: dict[str, Any]) -> Entry:
        self._check(name, reference, metadata)
        return Entry(name, reference, owner, MappingProxyType(dict(metadata)))

    def _built_in(self, name: str) -> str:
        return f"{self.kind} {name!r} is built into {CORE}"

    def _check(self, name: object, reference: object, metadata: dict[str, Any]) -> None:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise RegistryError(
                f"name of a {self.kind}: got {shorten(name)}, want a non-empty string of printable "
                "characters"
            )
        if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
            raise RegistryError(
                f"reference of {self.kind} {name!r}: got {shorten(reference)}, "
                'want "package.module:Name" or "package.module"'
            )
        try:
            text = json.dumps(metadata, allow_nan=False, ensure_ascii=False)
            text.encode("utf-8")  # a lone surrogate has no form in UTF-8
        except (TypeError, ValueError) as error:
            raise RegistryError(
                f"metadata of {self.kind} {name!r}: got {shorten(metadata)}, want JSON-able values "
                f"({error})"
            ) from error
        for key, value in metadata.items():
            is_list = isinstance(value, list | tuple) and all(map(_is_line, value))
            if key in _ONE_LINE and value is not None and not _is_line(value):
                want = "one line of text"
            elif key == "model_types" and not is_list:
                want = "a list of names"
            else:
                continue
            raise RegistryError(
                f"metadata {key} of {self.kind} {name!r}: got {shorten(value)}, want {want}"
            )

    def _unknown(self, name: str) -> str:
        message = f"unknown {self.kind} {name!r}.{closest(name, self._claims)}"
        if not self._claims:
            message += f" No {self.kind} is registered: is its plugin installed?"
        return message + self.failure_hint(name)


def _is_line(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def _resembles(name: str, plugin: str) -> bool:
    name, plugin = (re.sub(r"[\W_]", "", word).casefold() for word in (name, plugin))
    return bool(plugin) and (
        name.startswith(plugin) or bool(difflib.get_close_matches(name, [plugin]))
    )
