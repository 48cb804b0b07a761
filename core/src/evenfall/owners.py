"""Who registers something, and which of several owners gets a name."""

from __future__ import annotations

import re
from dataclasses import dataclass

CORE = "evenfall-core"
"""The distribution of this package."""

OWN_PLUGINS = frozenset(
    f"evenfall-{name}"
    for name in ("kernels", "blocklocal", "egru", "mamba", "sparsity", "spinnaker2", "stream")
)
"""The distributions of Evenfall's own plugins. No other plugin gets a name that these register."""

UNKNOWN = "unknown"
"""The name and version of a distribution whose metadata is damaged."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who registered something: a plugin and the distribution that ships it."""

    name: str
    distribution: str = UNKNOWN
    version: str = UNKNOWN

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.distribution} {self.version})"

    def rank(self, name: str) -> tuple[int, int, str, str]:
        """The rank of the owner among those that register `name`; the lowest rank gets it.

        The core comes first, then Evenfall's own plugins. Among equals, a name that starts with the
        name of a distribution belongs to that distribution: "leaky", "leaky-small" and "LeakyModel"
        to evenfall-leaky. Any other name belongs to the plugin that comes first in the alphabet.
        """
        distribution = canonical_name(self.distribution)
        order = 0 if distribution == CORE else 1 if distribution in OWN_PLUGINS else 2
        prefix = _words(self.distribution).removeprefix("evenfall-")
        is_own = f"{_words(name).removeprefix('evenfall-')}-".startswith(f"{prefix}-")
        return (order, -len(prefix) if is_own else 0, self.name, self.distribution)


def canonical_name(distribution: str) -> str:
    """The name of a distribution as pip compares names."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _words(name: str) -> str:
    """The words of a name in lower case, with hyphens: "EgruModel" becomes "egru-model"."""
    hyphenated = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name)
    return re.sub(r"[\W_]+", "-", hyphenated).strip("-").casefold()
