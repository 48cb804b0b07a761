"""One replacement in a host: examined, then done, then undone."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from packaging.specifiers import SpecifierSet

from evenfall.entries import import_reference
from evenfall.errors import PatchError

from .declarations import Change, Target

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Step:
    """A change whose owner was imported; `stored` is what the owner itself holds, if anything."""

    change: Change
    owner: Any
    stored: Any
    replacement: Any

    def do(self) -> None:
        """Put the replacement in place."""
        setattr(self.owner, self.change.attribute, self.replacement)

    def undo(self) -> None:
        """Put back what was there."""
        if self.stored is _ABSENT:  # it was inherited
            delattr(self.owner, self.change.attribute)
        else:
            setattr(self.owner, self.change.attribute, self.stored)

    def is_in_place(self) -> bool:
        """Whether nobody changed the attribute since."""
        return vars(self.owner).get(self.change.attribute, _ABSENT) is self.replacement


def installed_version(distribution: str) -> str | None:
    """The version of a distribution; None where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def check_version(what: str, target: Target) -> None:
    """Compare the host's version with those that were tested; errors begin with `what`.

    Raises:
        PatchError: the host is not installed, or has another version.
    """
    found = installed_version(target.distribution)
    if found is None:
        raise PatchError(f"{what}: {target.distribution} is not installed")
    if not SpecifierSet(target.versions).contains(found, prereleases=True):
        raise PatchError(
            f"{what}: {target.distribution} {found} is installed, tested is "
            f"{target.distribution}{target.versions}; nothing was changed"
        )


def prepare(what: str, change: Change) -> Step:
    """Examine one change and make its replacement; errors begin with `what`.

    Raises:
        ReferenceImportError: the owner cannot be imported.
        PatchError: the attribute is missing or has another signature.
    """
    owner = import_reference(change.owner, what)
    original = getattr(owner, change.attribute, _ABSENT)
    if original is _ABSENT:
        raise PatchError(f"{what}: {change} does not exist; nothing was changed")
    if change.parameters is not None:
        _check_signature(f"{what}: {change}", original, change.parameters)
    stored = vars(owner).get(change.attribute, _ABSENT)
    return Step(change, owner, stored, change.make(original))


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


def do_all(steps: list[Step]) -> None:
    """Do every step; where one raises, undo those before it."""
    done: list[Step] = []
    try:
        for step in steps:
            step.do()
            done.append(step)
    except BaseException:
        for step in reversed(done):
            step.undo()
        raise
