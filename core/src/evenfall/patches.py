"""Patches: reversible changes of other packages, all or nothing.

    >>> import evenfall
    >>> with evenfall.patch("mamba"):
    ...     model.generate(prompt)
    >>> handle = evenfall.patch("mamba", targets=["transformers"]).apply()
    >>> handle.revert()

A plugin registers a `Patch` with the hook `evenfall_register_patches`. A patch has targets, one a
host package. Every target is examined before the first change: its version, that each attribute is
there and takes the parameters that the replacement relies on, that none is changed already.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Protocol

from packaging.specifiers import SpecifierSet

from evenfall.entries import import_reference
from evenfall.errors import PatchError, UnknownNameError, closest
from evenfall.registry import patches
from evenfall.standins import StandIns

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One attribute of a host to replace.

    Attributes:
        owner: "package.module" or "package.module:Class".
        attribute: its name there.
        make: called with the original, returns the replacement.
        parameters: the names, in order, that the original's signature must have; None to go
            without that check. Of an object with a method `forward`, such as a layer that stands
            for a function, the parameters of that method, without self.
    """

    owner: str
    attribute: str
    make: Callable[[Any], Any]
    parameters: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return f"{self.owner.replace(':', '.')}.{self.attribute}"


class Registration(Protocol):
    """What else holds while a target is patched: entries in a register of some other package."""

    def place(self, what: str) -> None:
        """Register, or leave everything alone and log why, the line beginning with `what`."""

    def remove(self) -> None:
        """Restore what stood there before; nothing to do where nothing was placed. Never raises."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to change in one host.

    Attributes:
        distribution: of the host.
        versions: those that were tested, as a version specifier.
        changes: the attributes to replace.
        stand_ins: modules that the host imports and that may be absent.
        registration: placed once every change was found possible, removed on reverting.
    """

    distribution: str
    versions: str
    changes: tuple[Change, ...]
    stand_ins: StandIns | None = None
    registration: Registration | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """Named targets; what `evenfall_register_patches` registers a reference to."""

    targets: Mapping[str, Target]


@dataclass(frozen=True, slots=True)
class _Step:
    """A change whose owner was imported; `stored` is what the owner itself holds, if anything."""

    change: Change
    owner: Any
    stored: Any
    replacement: Any

    def do(self) -> None:
        setattr(self.owner, self.change.attribute, self.replacement)

    def undo(self) -> None:
        if self.stored is _ABSENT:  # it was inherited
            delattr(self.owner, self.change.attribute)
        else:
            setattr(self.owner, self.change.attribute, self.stored)

    def is_in_place(self) -> bool:
        return vars(self.owner).get(self.change.attribute, _ABSENT) is self.replacement


class PatchHandle:
    """A patch and the targets asked for, to apply and revert; also a context manager.

    Applying an applied target again is an error, through this handle or any other. Handles that
    change different attributes may be reverted in any order; of two that change the same one, the
    later goes first.
    """

    def __init__(self, name: str, targets: Mapping[str, Target]) -> None:
        self.name = name
        self.targets = tuple(targets)
        self._targets = targets
        self._steps: list[_Step] = []

    @property
    def applied(self) -> bool:
        """Whether the changes are in place."""
        return self in _applied

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """The names in `sys.modules` that modules of the plugin have while this is applied."""
        return tuple(name for stand_ins in self._stand_ins() for name in stand_ins.placed)

    def apply(self) -> PatchHandle:
        """Examine every target, then make every change, and return the handle.

        Raises:
            PatchError: a target is applied already, its host is not installed or has a version that
                was not tested, or an attribute is missing or has another signature. Nothing is
                changed then.
        """
        with _lock:
            self._check_not_applied()
            for name, target in self._targets.items():
                _check_version(f"patch {self.name!r}, target {name!r}", target)
            try:
                self._steps = self._change()
            except BaseException:
                self._remove_extras()
                raise
            _applied.append(self)
        return self

    def revert(self) -> None:
        """Put every original back.

        Raises:
            PatchError: the handle is not applied, or somebody changed one of its attributes since.
                Nothing is changed then.
        """
        with _lock:
            if not self.applied:
                raise PatchError(f"patch {self.name!r} is not applied through this handle")
            for step in self._steps:
                if not step.is_in_place():
                    raise PatchError(
                        f"patch {self.name!r} cannot be reverted: {step.change} was changed again "
                        f"since{self._later(step)}"
                    )
            for stand_ins in self._stand_ins():
                stand_ins.check(f"patch {self.name!r}")
            for step in reversed(self._steps):
                step.undo()
            self._remove_extras()
            self._steps = []
            _applied.remove(self)

    def __enter__(self) -> PatchHandle:
        return self.apply()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.revert()

    def __repr__(self) -> str:
        state = "applied" if self.applied else "not applied"
        return f"<patch {self.name!r} of {', '.join(self.targets)}: {state}>"

    def _change(self) -> list[_Step]:
        steps = []
        for name, target in self._targets.items():
            what = f"patch {self.name!r}, target {name!r}"
            if target.stand_ins is not None:
                target.stand_ins.place(what)
            steps += [_prepare(what, change) for change in target.changes]
        for name, target in self._targets.items():
            if target.registration is not None:
                target.registration.place(f"patch {self.name!r}, target {name!r}")
        _make(steps)
        return steps

    def _stand_ins(self) -> list[StandIns]:
        found = (target.stand_ins for target in self._targets.values())
        return [stand_ins for stand_ins in found if stand_ins is not None]

    def _remove_extras(self) -> None:
        for target in self._targets.values():
            if target.registration is not None:
                target.registration.remove()
        for stand_ins in self._stand_ins():
            stand_ins.remove()

    def _check_not_applied(self) -> None:
        for other in _applied:
            both = [name for name in self.targets if name in other.targets]
            if other.name == self.name and both:
                raise PatchError(
                    f"patch {self.name!r} is applied already to {', '.join(both)}; revert it first"
                )

    def _later(self, step: _Step) -> str:
        for other in _applied:
            if other is not self and any(
                theirs.owner is step.owner
                and theirs.change.attribute == step.change.attribute
                and theirs.is_in_place()
                for theirs in other._steps
            ):
                return f" by patch {other.name!r}; revert that one first"
        return ", by nobody that Evenfall knows; put it back first"


_lock = threading.RLock()
_applied: list[PatchHandle] = []


def patch(name: str, targets: Iterable[str] | None = None) -> PatchHandle:
    """A handle on the registered patch `name`; nothing changes until it is applied or entered.

    Args:
        name: as `evenfall patches` lists it.
        targets: the hosts to patch; by default every one that is installed.

    Raises:
        UnknownNameError: no such patch, or no such target of it.
        PatchError: none of its hosts is installed, or `targets` is empty.
    """
    found = patches.get(name)
    if not isinstance(found, Patch):
        raise PatchError(f"patch {name!r}: want a Patch, its plugin has {type(found).__name__}")
    if isinstance(targets, str):
        raise TypeError(f"targets: got the string {targets!r}, want a list such as [{targets!r}]")
    if targets is None:
        wanted = [key for key, target in found.targets.items() if _installed(target.distribution)]
        if not wanted:
            hosts = ", ".join(target.distribution for target in found.targets.values())
            raise PatchError(f"patch {name!r}: none of its hosts is installed ({hosts})")
    else:
        wanted = list(dict.fromkeys(targets))
    if not wanted:
        raise PatchError(f"patch {name!r}: targets is empty, want some of {list(found.targets)}")
    for key in wanted:
        if key not in found.targets:
            near = closest(key, found.targets)
            raise UnknownNameError(f"patch {name!r} has no target {key!r}.{near}")
    return PatchHandle(name, {key: found.targets[key] for key in wanted})


def applied() -> list[PatchHandle]:
    """The handles that are applied in this process, the latest last."""
    return list(_applied)


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _check_version(what: str, target: Target) -> None:
    found = _installed(target.distribution)
    if found is None:
        raise PatchError(f"{what}: {target.distribution} is not installed")
    if not SpecifierSet(target.versions).contains(found, prereleases=True):
        raise PatchError(
            f"{what}: {target.distribution} {found} is installed, tested is "
            f"{target.distribution}{target.versions}; nothing was changed"
        )


def _prepare(what: str, change: Change) -> _Step:
    owner = import_reference(change.owner, what)
    original = getattr(owner, change.attribute, _ABSENT)
    if original is _ABSENT:
        raise PatchError(f"{what}: {change} does not exist; nothing was changed")
    if change.parameters is not None:
        _check_signature(f"{what}: {change}", original, change.parameters)
    stored = vars(owner).get(change.attribute, _ABSENT)
    return _Step(change, owner, stored, change.make(original))


def _check_signature(what: str, original: Any, wanted: tuple[str, ...]) -> None:
    try:
        found = tuple(inspect.signature(_worker(original)).parameters)
    except (TypeError, ValueError) as error:
        raise PatchError(f"{what} has no signature: {error}; nothing was changed") from error
    if found != wanted:
        raise PatchError(
            f"{what} takes ({', '.join(found)}), want ({', '.join(wanted)}); nothing was changed"
        )


def _worker(original: Any) -> Any:
    """What does the work of `original`: a layer is called through a method that takes anything."""
    if inspect.isroutine(original) or inspect.isclass(original):
        return original
    return getattr(original, "forward", original)


def _make(steps: list[_Step]) -> None:
    done: list[_Step] = []
    try:
        for step in steps:
            step.do()
            done.append(step)
    except BaseException:
        for step in reversed(done):
            step.undo()
        raise
