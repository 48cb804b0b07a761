"""Find installed plugins: the entry points of a group, one distribution at a time.

`importlib.metadata.entry_points` reads all distributions at once, so one unreadable file hides them
all. Here an unreadable distribution is a candidate with a problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions

from evenfall.entries import UNKNOWN, Owner


@dataclass(frozen=True, slots=True)
class Candidate:
    """An installed plugin before it is loaded, or the problem that prevents loading.

    `rival` is the owner of the same entry-point name if that is another distribution.
    """

    owner: Owner
    entry_point: EntryPoint | None
    problem: str = ""
    rival: Owner | None = None


def discover(group: str, installed: Iterable[Distribution] | None = None) -> list[Candidate]:
    """Every entry point of `group`, sorted by name.

    A distribution that is on the path twice counts once, at its first place, as for imports. If
    several distributions use one entry-point name, all but the one with the best rank have a
    `problem`.
    """
    by_name: dict[str, list[Candidate]] = {}
    seen: set[str] = set()
    for distribution in distributions() if installed is None else installed:
        candidates = _candidates(distribution, group)
        if candidates and candidates[0].owner.distribution in seen:
            continue
        for candidate in candidates:
            if candidate.owner.distribution != UNKNOWN:  # two unknown ones may be different
                seen.add(candidate.owner.distribution)
            by_name.setdefault(candidate.owner.name, []).append(candidate)
    unique = [one for name, rivals in by_name.items() for one in _keep_best(name, rivals)]
    return sorted(unique, key=lambda one: (one.owner.name, one.owner.distribution))


def _keep_best(name: str, rivals: list[Candidate]) -> list[Candidate]:
    """The candidates of one entry-point name; all but the best have a problem."""
    first, *others = sorted(rivals, key=lambda one: one.owner.rank(name))
    problem = f"plugin name {name!r} is used by {first.owner} as well; uninstall one of them"
    return [first, *(Candidate(one.owner, None, problem, first.owner) for one in others)]


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
        name, version = metadata["Name"] or UNKNOWN, metadata["Version"] or UNKNOWN
    except Exception:
        name, version = UNKNOWN, UNKNOWN
    return Owner(name, name, version)
