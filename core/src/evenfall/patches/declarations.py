"""What a plugin declares: which attributes of which hosts a patch replaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evenfall.standins import StandIns


@dataclass(frozen=True, slots=True)
class Change:
    """One attribute of a host to replace.

    Attributes:
        owner: "package.module" or "package.module:Class".
        attribute: its name.
        make: called with the original; returns the replacement.
        parameters: the parameter names, in order, that the original must have; None skips the
            check. For an object with a method `forward`, such as a layer in the place of a
            function, the parameters of that method without self.
    """

    owner: str
    attribute: str
    make: Callable[[Any], Any]
    parameters: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return f"{self.owner.replace(':', '.')}.{self.attribute}"


@dataclass(frozen=True, slots=True)
class Target:
    """What to change in one host.

    Attributes:
        distribution: the host's distribution.
        versions: the tested versions, as a version specifier.
        changes: the attributes to replace.
        stand_ins: replacements of modules that the host imports and that may be missing.
    """

    distribution: str
    versions: str
    changes: tuple[Change, ...]
    stand_ins: StandIns | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """Named targets; `evenfall_register_patches` registers references to it."""

    targets: Mapping[str, Target]
