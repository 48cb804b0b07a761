"""A network on the chip: partitioned, placed and routed."""

from __future__ import annotations

from dataclasses import dataclass

from .lowering.network import Network
from .mapping.layouts import Plan
from .mapping.place import Placed, board_chips, place
from .mapping.route import Routes, check_routes, route
from .settings import Settings


@dataclass(frozen=True, eq=False)
class Mapped:
    """A network on the chip: what compile writes and the report shows."""

    network: Network
    plan: Plan
    chips: tuple[tuple[int, int], ...]
    placed: list[Placed]
    routes: Routes
    packets: int


def map_network(network: Network, settings: Settings, plan: Plan | None = None) -> Mapped:
    """Partition, place and route, and walk every packet.

    Raises:
        ValueError: the network does not fit.
    """
    plan = plan or settings.plan(network)
    chips = board_chips(settings.board)
    placed = place(plan.flat(), chips, plan.usable_pes)
    routes = route(network, placed, chips, plan.chip.router_entries)
    packets = check_routes(routes, network, placed, chips)
    return Mapped(network, plan, chips, placed, routes, packets)
