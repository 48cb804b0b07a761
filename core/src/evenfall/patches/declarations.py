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


@dataclass(frozen=True, slots=True)
class Target:
    """What to change in one host.

    Attributes:
        distribution: of the host.
        versions: those that were tested, as a version specifier.
        changes: the attributes to replace.
        stand_ins: modules that the host imports and that may be absent.
    """

    distribution: str
    versions: str
    changes: tuple[Change, ...]
    stand_ins: StandIns | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """Named targets; what `evenfall_register_patches` registers a reference to."""

    targets: Mapping[str, Target]
