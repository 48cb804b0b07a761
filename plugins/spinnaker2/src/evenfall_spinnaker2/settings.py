"""The options of check and compile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evenfall.checks import check_choice, check_flag, check_integer
from evenfall.graph import Graph
from evenfall.graph.layers import Reset

from .chip import load_chip
from .image.codes import MODES
from .lowering.from_graph import make_network
from .lowering.network import Network
from .lowering.precision import choose_precision
from .mapping.layout import Options
from .mapping.layouts import Plan, make_plan
from .mapping.place import board_chips

_MOST = 1 << 20
"""Events of a queue and steps of a recording are below this."""


@dataclass(frozen=True)
class Settings:
    """The options of check and compile.

    Attributes:
        mode: "events" (a row of weights for each event) or "gather" (each unit reads all inputs).
            None becomes "events", or "gather" with the profile "published".
        precision: "auto" (the smallest that holds every weight exactly), "fp32", "bf16" or "int8".
        profile: "default", or "published": the layout of the published language model, which has
            no other mode than "gather".
        board: "1" chip, "48" chips, or a rectangle of chips such as "4x3", which is extrapolation.
        pes: processing elements of a chip that may be used.
        decoder: where dense layers after the last events lie: "host" or "chip".
        queue_depth: events of a queue; by default one for each source, at most 1,024.
        dt: seconds of a step of spiking layers.
        integrator: "forward" or "exponential".
        weight_scale: of int8 weights of spiking layers.
        reset: what the layers of a .nir file do when they spike, see `read_nir`.
        recorded_steps: steps whose events each processing element keeps.
        record_values: also keep what each unit sent in those steps.
    """

    mode: str | None = None
    precision: str = "auto"
    profile: str = "default"
    board: str = "1"
    pes: int | None = None
    decoder: str = "host"
    queue_depth: int | None = None
    dt: float = 1e-3
    integrator: str = "forward"
    weight_scale: float | None = None
    reset: Reset | None = None
    recorded_steps: int = 0
    record_values: bool = False

    def __post_init__(self) -> None:
        chip = load_chip(self.profile)
        published = self.profile == "published"
        if self.mode is None:
            object.__setattr__(self, "mode", "gather" if published else "events")
        check_choice("mode", self.mode, MODES)
        if published and self.mode != "gather":
            raise ValueError(f"profile 'published' has mode 'gather', got mode {self.mode!r}")
        if self.pes is not None:
            check_integer("pes", self.pes, 1, 1 + len(chip.places))
        board_chips(self.board)
        if self.queue_depth is not None:
            check_integer("queue_depth", self.queue_depth, 1, _MOST)
        check_integer("recorded_steps", self.recorded_steps, 0, _MOST)
        check_flag("record_values", self.record_values)
        if self.record_values and not self.recorded_steps:
            raise ValueError("record_values needs recorded_steps above 0, got 0")

    def network(self, graph: Graph, calibration: Any = None) -> Network:
        """The network of a graph, with these options."""
        network = make_network(graph, dt=self.dt, integrator=self.integrator, decoder=self.decoder)
        return choose_precision(
            network, self.precision, calibration=calibration, weight_scale=self.weight_scale,
            limit=load_chip(self.profile).weight_limit,
        )  # fmt: skip

    def plan(self, network: Network) -> Plan:
        """The slices of a network, with these options."""
        assert self.mode is not None
        options = Options(
            self.mode, self.queue_depth, recorded_steps=self.recorded_steps,
            record_values=self.record_values,
        )  # fmt: skip
        return make_plan(network, options, self.profile, self.pes)
