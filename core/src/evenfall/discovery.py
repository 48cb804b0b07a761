"""Find installed plugins: the entry points of a group, one distribution at a time.

`importlib.metadata.entry_points` reads every distribution in one go, so one unreadable file hides
them all. Here an unreadable distribution is a finding of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions

from evenfall.entries import Owner


@dataclass(frozen=True, slots=True)
class Candidate:
    """An installed plugin that is not loaded yet, or the reason why it cannot be read."""

    owner: Owner
    entry_point: EntryPoint | None
    problem: str = ""


def discover(group: str, installed: Iterable[Distribution] | None = None) -> list[Candidate]:
    """Every entry point of `group`, sorted by name.

    A distribution that is found twice on the path counts once, the first time, as it does for
    imports. Two distributions that use one entry-point name are both listed, the second with a
    `problem`.
    """
    found: dict[str, Candidate] = {}
    doubles: list[Candidate] = []
    seen: set[str] = set()
    for distribution in distributions() if installed is None else installed:
        candidates = _candidates(distribution, group)
        if candidates and candidates[0].owner.distribution in seen:
            continue
        for candidate in candidates:
            owner = candidate.owner
            seen.add(owner.distribution)
            first = found.setdefault(owner.name, candidate)
            if first is not candidate:
                doubles.append(
                    Candidate(owner, None, f"the name {owner.name!r} is taken by {first.owner}")
                )
    return sorted(
        [*found.values(), *doubles], key=lambda one: (one.owner.name, one.owner.distribution)
    )


def _candidates(distribution: Distribution, group: str) -> list[Candidate]:
    try:
        text = distribution.read_text("entry_points.txt") or ""
        if not re.search(rf"^\s*\[\s*{re.escape(group)}\s*\]", text, re.MULTILINE):
            return []
        points = [point for point in distribution.entry_points if point.group == group]
    except Exception as error:
        problem = f"its entry_points.txt cannot be read: {type(error).__name__}: {error}"
        return [Candidate(_identity(distribution), None, problem)]
    identity = _identity(distribution)
    return [
        Candidate(Owner(point.name, identity.distribution, identity.version), point)
        for point in points
    ]


def _identity(distribution: Distribution) -> Owner:
    """The distribution as an owner whose plugin name is not known yet; damaged metadata gives
    "unknown"."""
    try:
        metadata = distribution.metadata
        name, version = metadata["Name"] or "unknown", metadata["Version"] or "unknown"
    except Exception:
        name, version = "unknown", "unknown"
    return Owner(name, name, version)
