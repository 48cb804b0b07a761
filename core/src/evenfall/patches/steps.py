"""One replacement in a host: check it, do it, undo it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from packaging.specifiers import SpecifierSet

from evenfall.errors import PatchError
from evenfall.installed import installed_version
from evenfall.references import import_reference

from .declarations import Change, Target

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Step:
    """A change of an imported owner; `stored` is the owner's own attribute, if it has one."""

    change: Change
    owner: Any
    stored: Any
    replacement: Any

    def do(self) -> None:
        """Set the replacement."""
        setattr(self.owner, self.change.attribute, self.replacement)

    def undo(self) -> None:
        """Restore the original."""
        if self.stored is _ABSENT:  # it was inherited
            delattr(self.owner, self.change.attribute)
        else:
            setattr(self.owner, self.change.attribute, self.stored)

    def is_in_place(self) -> bool:
        """Whether the attribute still is the replacement."""
        return vars(self.owner).get(self.change.attribute, _ABSENT) is self.replacement


def check_version(what: str, target: Target) -> None:
    """Check that the host's version is one of the tested ones; errors begin with `what`.

    Raises:
        PatchError: the host is not installed, or has another version.
    """
    installed = installed_version(target.distribution)
    if installed is None:
        raise PatchError(f"{what}: {target.distribution} is not installed")
    if not SpecifierSet(target.versions).contains(installed, prereleases=True):
        raise PatchError(
            f"{what}: {target.distribution} {installed} is not a tested version, want "
            f"{target.distribution}{target.versions}; nothing was changed"
        )


def prepare(what: str, change: Change) -> Step:
    """Check one change and make its replacement; errors begin with `what`.

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
        parameters = tuple(inspect.signature(_worker(original)).parameters)
    except (TypeError, ValueError) as error:
        raise PatchError(f"{what} has no signature: {error}; nothing was changed") from error
    if parameters != wanted:
        raise PatchError(
            f"{what} takes ({', '.join(parameters)}), want ({', '.join(wanted)}); "
            "nothing was changed"
        )


def _worker(original: Any) -> Any:
    """The function whose parameters count: a layer's __call__ takes anything, its forward not."""
    if inspect.isroutine(original) or inspect.isclass(original):
        return original
    return getattr(original, "forward", original)


def check_different(name: str, steps: list[Step]) -> None:
    """Check that no attribute is changed twice; such a patch could not be reverted.

    Raises:
        PatchError: two changes have the same owner, whatever its path, and attribute.
    """
    seen: dict[tuple[int, str], Change] = {}
    for step in steps:
        change = step.change
        first = seen.setdefault((id(step.owner), change.attribute), change)
        if first is not change:
            names = str(change) if str(first) == str(change) else f"{first}, which is {change},"
            raise PatchError(f"patch {name!r} changes {names} twice; nothing was changed")


def do_all(steps: list[Step]) -> None:
    """Do every step; if one raises, undo those before it."""
    done: list[Step] = []
    try:
        for step in steps:
            step.do()
            done.append(step)
    except BaseException:
        for step in reversed(done):
            step.undo()
        raise
