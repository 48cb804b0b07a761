"""Traffic: packets a tick on each link between chips."""

from __future__ import annotations

from collections.abc import Mapping

from .route import XY, Routes


def link_traffic(routes: Routes, activity: Mapping[str, float]) -> dict[tuple[XY, int], float]:
    """Packets a tick on each link: (chip, direction) -> number.

    Args:
        routes: the trees.
        activity: share of the units of a population that send in a tick; 1 if it is not named.
    """
    found: dict[tuple[XY, int], float] = {}
    for name, _, _, units, links in routes.trees:
        for link in links:
            found[link] = found.get(link, 0.0) + units * activity.get(name, 1.0)
    return dict(sorted(found.items()))
