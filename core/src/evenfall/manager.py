"""Load each plugin alone. What a broken plugin registered is removed; the others are unaffected."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import pluggy

from evenfall import hookspecs, switches
from evenfall.discovery import Candidate, discover
from evenfall.entries import Registry
from evenfall.errors import EvenfallError, PluginError
from evenfall.interrupts import Interrupts
from evenfall.light import load_light
from evenfall.owners import Owner
from evenfall.printing import printable
from evenfall.registration import check_api, check_hooks, register_with

logger = logging.getLogger("evenfall")


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """The state of one plugin.

    `message` says why it is broken or blocked, or which of its names belong to another plugin, and
    how to turn it off. `provides` maps a registry, such as "models", to the plugin's names there.
    """

    name: str
    distribution: str
    version: str
    status: Literal["ok", "broken", "blocked"]
    message: str = ""
    provides: Mapping[str, list[str]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON-able values."""
        return asdict(self)


class PluginManager:
    """Loads plugins once and keeps a status row for each.

    Args:
        registries: where plugins register, by the plural in the name of the hook.
        find: lists the installed plugins of an entry-point group.

    Attributes:
        lock: held while plugins load.
    """

    def __init__(
        self,
        registries: Mapping[str, Registry[Any]],
        find: Callable[[str], list[Candidate]] = discover,
    ) -> None:
        self._registries = registries
        self._find = find
        self.lock = threading.RLock()
        self._loading = False
        self._loaded = False
        self._forget()

    def load(self) -> None:
        """Load every installed plugin; a second call does nothing. Safe from several threads.

        What a plugin prints while it is loaded goes to standard error.

        Raises:
            PluginError: EVENFALL_STRICT is set, and a plugin is broken or claims a name of another
                one; the first cause is chained. Or it is neither on nor off.
        """
        if not self._loaded:
            with self.lock:
                if self._loading:
                    return  # a plugin reads a registry while it registers
                if not self._loaded:
                    # What a plugin prints must not get between the lines of the program's output.
                    with redirect_stdout(sys.stderr):
                        self._load_all()
        if switches.is_strict():
            self._raise_if_faulty()

    def statuses(self) -> list[PluginStatus]:
        """A row for each plugin, sorted by name; loads the plugins first."""
        self.load()
        return sorted(self._rows, key=lambda row: (row.name, row.distribution))

    def reset(self) -> None:
        """Undo everything; the next `load` reads the environment again."""
        with self.lock:
            for owner in self._owners:
                self._remove(owner)
            self._forget()

    def _forget(self) -> None:
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._rows: list[PluginStatus] = []
        self._owners: list[Owner] = []
        self._first_error: BaseException | None = None
        self._loaded = False

    def _load_all(self) -> None:
        self._loading = True
        try:
            wanted = switches.Switches.read()
            candidates = self._find(hookspecs.PROJECT)
            for candidate in candidates:
                self._owners.append(candidate.owner)
            # Whose a name is, is certain only after all have registered.
            working = [
                candidate.owner
                for candidate in candidates
                if self._loads(candidate, wanted.refusal(candidate.owner.name))
            ]
            self._rows += [self._ok_row(owner) for owner in working]
            installed = [candidate.owner.name for candidate in candidates]
            for variable, name, message in wanted.not_installed(installed):
                status: Literal["broken", "blocked"] = (
                    "broken" if variable == switches.ALLOW else "blocked"
                )
                self._rows.append(PluginStatus(name, "not installed", "", status, message))
                logger.warning("%s", message)
            self._loaded = True
        except BaseException:
            self.reset()
            raise
        finally:
            self._loading = False

    def _loads(self, candidate: Candidate, refusal: str | None) -> bool:
        """Load a plugin unless it is refused; if that fails, remove what it registered."""
        owner = candidate.owner
        if refusal is not None:
            self._record(owner, "blocked", refusal)
            return False
        interrupts = Interrupts()
        try:
            with interrupts:
                self._load_one(candidate)
        except BaseException as error:
            if interrupts.seen:
                raise
            self._first_error = self._first_error or error
            reason = _describe(error)
            if candidate.rival is None:  # otherwise the switch would turn off the rival, too
                reason += f" ({switches.BLOCK}={owner.name} turns it off)"
            # A candidate without an entry point registered nothing, and a rival that did may be
            # its equal: two distributions without metadata are both "unknown".
            names = {} if candidate.entry_point is None else self._remove(owner)
            self._record(owner, "broken", reason, names)
            logger.warning("%s is broken and is not used: %s", owner, reason)
            return False
        return True

    def _ok_row(self, owner: Owner) -> PluginStatus:
        names = {kind: registry.owned_by(owner) for kind, registry in self._registries.items()}
        provides = {kind: owned for kind, owned in names.items() if owned}
        conflicts = [
            clause for registry in self._registries.values() for clause in registry.conflicts(owner)
        ]
        message = ""
        if conflicts:
            message = (
                f"{owner} did not get some of its names: {'; '.join(conflicts)} "
                f"({switches.BLOCK}={owner.name} turns it off)"
            )
            logger.warning("%s", message)
        return PluginStatus(owner.name, owner.distribution, owner.version, "ok", message, provides)

    def _load_one(self, candidate: Candidate) -> None:
        if candidate.entry_point is None:
            raise PluginError(candidate.problem)
        owner = candidate.owner
        plugin = load_light(candidate.entry_point)
        check_api(plugin, owner)
        self._pluggy.register(plugin, name=owner.name)
        check_hooks(self._pluggy, plugin)
        register_with(self._pluggy, plugin, owner, self._registries)

    def _record(
        self,
        owner: Owner,
        status: Literal["broken", "blocked"],
        reason: str,
        attempted: Mapping[str, list[str]] = MappingProxyType({}),
    ) -> None:
        self._rows.append(
            PluginStatus(owner.name, owner.distribution, owner.version, status, reason)
        )
        for kind, registry in self._registries.items():
            registry.record_failure(owner, f"it is {status}: {reason}", attempted.get(kind, []))

    def _remove(self, owner: Owner) -> dict[str, list[str]]:
        """Remove all that `owner` registered and return the names by registry."""
        if self._pluggy.has_plugin(owner.name):
            self._pluggy.unregister(name=owner.name)
        return {kind: registry.remove_owner(owner) for kind, registry in self._registries.items()}

    def _raise_if_faulty(self) -> None:
        broken = [row for row in self._rows if row.status == "broken"]
        clashing = [row for row in self._rows if row.status == "ok" and row.message]
        if not broken + clashing:
            return
        counts = [f"{len(broken)} plugin(s) broken"] if broken else []
        counts += [f"{len(clashing)} plugin(s) with conflicting names"] if clashing else []
        lines = "".join(
            f"\n  {row.name} ({row.distribution}): {row.message}" for row in broken + clashing
        )
        raise PluginError(
            f"{' and '.join(counts)}, and {switches.STRICT} is set:{lines}"
        ) from self._first_error


def _describe(error: BaseException) -> str:
    if isinstance(error, EvenfallError):
        return printable(error)
    return printable(" ".join("".join(traceback.format_exception_only(error)).split()))
