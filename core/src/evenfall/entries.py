"""What a plugin registers: named references, imported on first use, each with its owner."""

from __future__ import annotations

import difflib
import importlib
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

from evenfall.errors import ReferenceImportError, RegistryError, UnknownNameError, closest

T = TypeVar("T")

CORE = "evenfall-core"
"""The distribution of this package."""

UNKNOWN = "unknown"
"""The name and version of a distribution whose metadata is damaged."""

_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")


@dataclass(frozen=True, slots=True)
class Owner:
    """Who registered something: a plugin and the distribution that ships it."""

    name: str
    distribution: str = UNKNOWN
    version: str = UNKNOWN

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.distribution} {self.version})"

    def rank(self, name: str) -> tuple[int, str, str]:
        """Where the owner stands among several that claim `name`; the smallest rank wins.

        The core comes first. A name that bears a distribution's prefix belongs to that
        distribution: "egru", "egru-small" and "EgruModel" to evenfall-egru. Any other name belongs
        to the plugin that comes first in the alphabet.
        """
        if self.distribution == CORE:
            return (-sys.maxsize, self.name, self.distribution)
        prefix = _words(self.distribution).removeprefix("evenfall-")
        bears = f"{_words(name).removeprefix('evenfall-')}-".startswith(f"{prefix}-")
        return (-len(prefix) if bears else 0, self.name, self.distribution)


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

    A name has one holder. Where several plugins claim it, that is the one with the best claim,
    whatever the order in which they register; when it goes, the next one holds the name.

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
        self._claims: dict[str, list[Entry]] = {}  # the holder's first
        self._refused: list[Entry] = []  # claims to reserved names
        self._lost: list[_Lost] = []
        self._lock = threading.RLock()

    def add(self, name: str, reference: str, owner: Owner | str, **metadata: Any) -> None:
        """Register `reference`, "package.module:Name" or a whole "package.module", under `name`.

        Raises:
            RegistryError: the name is taken (both owners are named) or an argument is malformed.
        """
        owner = Owner(owner) if isinstance(owner, str) else owner
        entry = self._entry(name, reference, owner, metadata)
        if name in self.reserved:
            raise RegistryError(f"{self._built_in(name)}; take another name")
        with self._lock:
            self._put(entry, self._claims.get(name, []))

    def claim(self, name: str, reference: str, owner: Owner, **metadata: Any) -> None:
        """As `add`, for a name that the core or another owner may hold or take over.

        Raises:
            RegistryError: `owner` has registered the name already, or an argument is malformed.
        """
        entry = self._entry(name, reference, owner, metadata)
        with self._lock:
            if name in self.reserved:
                self._refused.append(entry)
            else:
                self._put(entry, [one for one in self._claims.get(name, []) if one.owner == owner])

    def losses(self, owner: Owner) -> list[str]:
        """For each name that `owner` claims and does not hold, a clause that says who does."""
        with self._lock:
            return [self._built_in(one.name) for one in self._refused if one.owner == owner] + [
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
        """The registration of `name`, nothing imported.

        Raises:
            UnknownNameError: nothing is registered under `name`; the message has the closest names,
                and the
                broken or blocked plugin that would have provided it, when one is known.
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
        return cast(T, import_reference(entry.reference, f"{self.kind} {name!r} of {entry.owner}"))

    def remove_owner(self, owner: Owner) -> list[str]:
        """Forget everything about `owner` and return the names it had registered, sorted."""
        with self._lock:
            self._lost = [lost for lost in self._lost if lost.owner != owner]
            self._refused = [entry for entry in self._refused if entry.owner != owner]
            names = []
            for name, claims in list(self._claims.items()):
                left = [one for one in claims if one.owner != owner]
                if len(left) < len(claims):
                    names.append(name)
                    self._claims[name] = left
                if not left:
                    del self._claims[name]
            self.generation += 1
            return sorted(names)

    def owned_by(self, owner: Owner) -> list[str]:
        """The names that `owner` holds so far, sorted; loads nothing."""
        with self._lock:
            held = (name for name, claims in self._claims.items() if claims[0].owner == owner)
            return sorted(held)

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
        return f"Registry({self.kind!r}, {sorted(self._claims)})"

    def _put(self, entry: Entry, rivals: list[Entry]) -> None:
        if rivals:
            raise RegistryError(
                f"{self.kind} {entry.name!r} is registered by {rivals[0].owner} as "
                f"{rivals[0].reference!r}; {entry.owner} cannot register it again as "
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
        if not isinstance(name, str) or not name.strip():
            raise RegistryError(f"name of a {self.kind}: got {name!r}, want a non-empty string")
        if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
            raise RegistryError(
                f"reference of {self.kind} {name!r}: got {reference!r}, "
                'want "package.module:Name" or "package.module"'
            )
        try:
            json.dumps(metadata)
        except (TypeError, ValueError) as error:
            raise RegistryError(
                f"metadata of {self.kind} {name!r}: got {metadata!r}, want JSON-able values "
                f"({error})"
            ) from error

    def _unknown(self, name: str) -> str:
        message = f"unknown {self.kind} {name!r}.{closest(name, self._claims)}"
        if not self._claims:
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


def _words(name: str) -> str:
    """The words of a name, in lower case with hyphens between: "EgruModel" is "egru-model"."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name)
    return re.sub(r"[\W_]+", "-", apart).strip("-").casefold()


def _resembles(name: str, plugin: str) -> bool:
    name, plugin = (re.sub(r"[\W_]", "", word).casefold() for word in (name, plugin))
    return bool(plugin) and (
        name.startswith(plugin) or bool(difflib.get_close_matches(name, [plugin]))
    )
