"""Find installed plugins: the entry points of a group, one distribution at a time.

`importlib.metadata.entry_points` reads all distributions at once, so one unreadable file hides them
all. Here an unreadable distribution is a candidate with a problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions

from evenfall.owners import UNKNOWN, Owner, canonical_name
from evenfall.printing import printable


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
        if not candidates:
            continue
        identity = canonical_name(candidates[0].owner.distribution)
        if identity in seen:
            continue
        if identity != UNKNOWN:  # two unknown ones may be different
            seen.add(identity)
        for candidate in candidates:
            by_name.setdefault(candidate.owner.name, []).append(candidate)
    unique = [one for name, rivals in by_name.items() for one in _keep_best(name, rivals)]
    return sorted(unique, key=lambda one: (one.owner.name, one.owner.distribution))


def _keep_best(name: str, rivals: list[Candidate]) -> list[Candidate]:
    """The candidates of one entry-point name; all but the best have a problem."""
    first, *others = sorted(rivals, key=lambda one: (bool(one.problem), *_order(one, name)))
    problem = f"plugin name {name!r} is used by {first.owner} as well; uninstall one of them"
    return [
        first,
        *(Candidate(one.owner, None, one.problem or problem, first.owner) for one in others),
    ]


def _order(candidate: Candidate, name: str) -> tuple[object, str]:
    """The rank, then what the entry point names: distributions without metadata have equal ranks,
    and their order on the path must not decide."""
    point = candidate.entry_point
    return candidate.owner.rank(name), "" if point is None else point.value


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
        Candidate(Owner(printable(point.name), identity.distribution, identity.version), point)
        for point in points
    ]


def _identity(distribution: Distribution) -> Owner:
    """The distribution as an owner whose plugin name is not known yet; damaged metadata gives
    "unknown"."""
    try:
        metadata = distribution.metadata
        name = printable(metadata["Name"] or UNKNOWN)
        version = printable(metadata["Version"] or UNKNOWN)
    except Exception:
        name, version = UNKNOWN, UNKNOWN
    return Owner(name, name, version)
