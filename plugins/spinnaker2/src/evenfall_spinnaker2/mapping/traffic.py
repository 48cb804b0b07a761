"""Traffic: packets a tick on each link between chips, and to each processing element."""

from __future__ import annotations

from collections.abc import Mapping

from evenfall_spinnaker2.lowering.network import Network

from .route import XY, Routes


def link_traffic(
    routes: Routes, network: Network, activity: Mapping[str, float]
) -> dict[tuple[XY, int], float]:
    """Packets a tick on each link: (chip, direction) -> number.

    Args:
        routes: the trees.
        network: its populations.
        activity: share of the units of a population that send in a tick; 1 if it is not named.
    """
    found: dict[tuple[XY, int], float] = {}
    for name, _, _, units, links in routes.trees:
        for link in links:
            found[link] = found.get(link, 0.0) + units * activity.get(name, 1.0)
    return dict(sorted(found.items()))


def arrivals(network: Network, activity: Mapping[str, float]) -> dict[str, float]:
    """Packets a tick that arrive at each processing element of a population."""
    found: dict[str, float] = {}
    for one in network.projections:
        units = network.populations[one.source].units
        found[one.target] = found.get(one.target, 0.0) + units * activity.get(one.source, 1.0)
    return found
