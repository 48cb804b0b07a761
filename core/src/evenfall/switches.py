"""The environment variables that decide which plugins load.

`EVENFALL_PLUGINS=egru,kernels` loads only these plugins, `EVENFALL_BLOCK=mamba` never loads this
one, and `EVENFALL_STRICT=1` makes a broken plugin an error. An empty variable counts as unset.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from evenfall.errors import PluginError, closest, shorten

ALLOW = "EVENFALL_PLUGINS"
BLOCK = "EVENFALL_BLOCK"
STRICT = "EVENFALL_STRICT"

_ON = ("1", "true", "yes", "on")
_OFF = ("", "0", "false", "no", "off")


def is_strict(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether EVENFALL_STRICT makes a broken plugin an error.

    Raises:
        PluginError: it is neither on nor off.
    """
    value = environment.get(STRICT, "").strip().casefold()
    if value not in _ON + _OFF:
        raise PluginError(
            f"{STRICT} must be one of {', '.join(_ON + _OFF[1:])}, got {shorten(value)}"
        )
    return value in _ON


@dataclass(frozen=True, slots=True)
class Switches:
    """The plugins to allow (None: all) and those to block, by entry-point name."""

    allow: frozenset[str] | None = None
    block: frozenset[str] = frozenset()

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Switches:
        """The switches that the environment sets."""
        return cls(_names(environment, ALLOW) or None, _names(environment, BLOCK))

    def refusal(self, name: str) -> str | None:
        """Why the plugin `name` must not be loaded, or None if it may be."""
        if name in self.block:
            return f"{BLOCK} lists it"
        if self.allow is not None and name not in self.allow:
            return f"{ALLOW} does not list it"
        return None

    def not_installed(self, installed: Collection[str]) -> Iterator[tuple[str, str, str]]:
        """The names in the variables that are not installed: (variable, name, message)."""
        for variable, names in ((ALLOW, self.allow or ()), (BLOCK, self.block)):
            for name in sorted(set(names) - set(installed)):
                yield (
                    variable,
                    name,
                    f"{variable} lists {name!r}, which is not installed.{closest(name, installed)}",
                )


def _names(environment: Mapping[str, str], variable: str) -> frozenset[str]:
    words = environment.get(variable, "").split(",")
    return frozenset(word.strip() for word in words if word.strip())
