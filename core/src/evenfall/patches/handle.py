"""The handle that applies a patch and reverts it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from types import TracebackType

from evenfall.errors import PatchError, UnknownNameError, closest
from evenfall.installed import installed_version
from evenfall.registry import patches
from evenfall.standins import StandIns

from .declarations import Patch, Target
from .steps import Step, check_different, check_version, do_all, prepare


class PatchHandle:
    """Some targets of a patch, to apply and revert; also a context manager.

    It is an error to apply a target twice, through this or any other handle. Handles that change
    different attributes may be reverted in any order. If two change the same attribute, the later
    one must be reverted first.
    """

    def __init__(self, name: str, targets: Mapping[str, Target]) -> None:
        self.name = name
        self.targets = tuple(targets)
        self._targets = targets
        self._steps: list[Step] = []

    @property
    def applied(self) -> bool:
        """Whether the changes are in place."""
        return self in _applied

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """The names in `sys.modules` that stand-ins have while this is applied."""
        return tuple(name for stand_ins in self._stand_ins() for name in stand_ins.placed)

    def apply(self) -> PatchHandle:
        """Check every target, then make every change, and return the handle.

        Raises:
            PatchError: a target is already applied, its host is not installed or has a version that
                was not tested, or an attribute is missing, has another signature or would be
                changed twice. Nothing is changed.
        """
        with _lock:
            self._check_not_applied()
            for name, target in self._targets.items():
                check_version(f"patch {self.name!r}, target {name!r}", target)
            try:
                self._steps = self._change()
            except BaseException:
                self._remove_stand_ins()
                raise
            _applied.append(self)
        return self

    def revert(self) -> None:
        """Restore every original.

        Raises:
            PatchError: the handle is not applied, or other code has changed one of its attributes.
                Nothing is changed.
        """
        with _lock:
            if not self.applied:
                raise PatchError(f"patch {self.name!r} is not applied through this handle")
            for step in self._steps:
                if not step.is_in_place():
                    raise PatchError(
                        f"patch {self.name!r} cannot be reverted: {self._blocker(step)}"
                    )
            for stand_ins in self._stand_ins():
                stand_ins.check(f"patch {self.name!r}")
            for step in reversed(self._steps):
                step.undo()
            self._remove_stand_ins()
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

    def _change(self) -> list[Step]:
        steps = []
        for name, target in self._targets.items():
            what = f"patch {self.name!r}, target {name!r}"
            if target.stand_ins is not None:
                target.stand_ins.place(what)
            steps += [prepare(what, change) for change in target.changes]
        check_different(self.name, steps)
        do_all(steps)
        return steps

    def _stand_ins(self) -> list[StandIns]:
        targets = self._targets.values()
        return [target.stand_ins for target in targets if target.stand_ins is not None]

    def _remove_stand_ins(self) -> None:
        for stand_ins in self._stand_ins():
            stand_ins.remove()

    def _check_not_applied(self) -> None:
        for other in _applied:
            both = [name for name in self.targets if name in other.targets]
            if other.name == self.name and both:
                raise PatchError(
                    f"patch {self.name!r} is already applied to {', '.join(both)}; revert it first"
                )

    def _blocker(self, step: Step) -> str:
        """Why the step cannot be undone: who changed the attribute again."""
        for other in _applied:
            if other is not self and any(
                theirs.owner is step.owner
                and theirs.change.attribute == step.change.attribute
                and theirs.is_in_place()
                for theirs in other._steps
            ):
                return f"patch {other.name!r} changed {step.change} later; revert that one first"
        return f"other code has changed {step.change}; restore it first"


_lock = threading.RLock()
_applied: list[PatchHandle] = []


def patch(name: str, targets: Iterable[str] | None = None) -> PatchHandle:
    """A handle of the registered patch `name`; nothing changes until it is applied or entered.

    Args:
        name: as `evenfall patches` lists it.
        targets: the hosts to patch; by default all that are installed.

    Raises:
        UnknownNameError: there is no such patch, or it has no such target.
        PatchError: none of its hosts is installed, or `targets` is empty.
    """
    declaration = patches.get(name)
    if not isinstance(declaration, Patch):
        raise PatchError(
            f"patch {name!r} is a {type(declaration).__name__}, want an evenfall.patches.Patch"
        )
    if isinstance(targets, str):
        raise TypeError(f"targets: got the string {targets!r}, want a list such as [{targets!r}]")
    if targets is None:
        wanted = [
            key
            for key, target in declaration.targets.items()
            if installed_version(target.distribution)
        ]
        if not wanted:
            hosts = ", ".join(target.distribution for target in declaration.targets.values())
            raise PatchError(f"patch {name!r}: none of its hosts is installed ({hosts})")
    else:
        wanted = list(dict.fromkeys(targets))
    if not wanted:
        raise PatchError(
            f"patch {name!r}: targets is empty, want some of {list(declaration.targets)}"
        )
    for key in wanted:
        if key not in declaration.targets:
            near = closest(key, declaration.targets)
            raise UnknownNameError(f"patch {name!r} has no target {key!r}.{near}")
    return PatchHandle(name, {key: declaration.targets[key] for key in wanted})


def applied() -> list[PatchHandle]:
    """The handles that are applied in this process, the latest last."""
    return list(_applied)
