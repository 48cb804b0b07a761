"""Check: what a model becomes on the chip, what does not fit, and what would make it fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from evenfall.checks import check_choice, check_integer, check_number
from evenfall.errors import shorten

from .lowering.network import Convolution, Network, Projection
from .lowering.sketch import Sketch, sketch_egru, sketched
from .manifest import VERIFICATION
from .mapped import Mapped, map_network
from .mapping.layout import WEIGHT_BYTES
from .mapping.layouts import Plan
from .mapping.traffic import link_traffic
from .settings import Settings
from .sources import read_source

_FORMATS = ("bf16", "int8")


@dataclass(frozen=True)
class LayerCheck:
    """What one layer becomes.

    Attributes:
        name, kind: of the layer; "host" layers are computed outside.
        units: of the layer.
        weights, nonzeros: of its matrices.
        form: of the stored weights, such as "sparse bf16".
        bytes: of all its processing elements.
        pes: processing elements.
        largest: bytes of the fullest one.
        queue: events that a queue holds; 0 where it needs none.
    """

    name: str
    kind: str
    units: int
    weights: int
    nonzeros: int
    form: str
    bytes: int
    pes: int
    largest: int
    queue: int


@dataclass(frozen=True)
class Check:
    """The result of `check`.

    Attributes:
        model: its name.
        verification: what images are verified by.
        fits: whether it can be compiled with these options.
        problem: why not.
        layers: what each layer becomes.
        pes, available: processing elements needed, and on the board.
        chips: in use.
        capacity: bytes of data memory of a processing element.
        host_bytes: of arrays on the host or in DRAM, float32.
        router_entries: of the fullest router; None if it does not fit.
        packets_per_tick: on the busiest link between chips if every unit sends; 0 on one chip.
        would_fit: changes that make it fit.
    """

    model: str
    verification: str
    fits: bool
    problem: str
    layers: tuple[LayerCheck, ...]
    pes: int
    available: int
    chips: int
    capacity: int
    host_bytes: int
    router_entries: int | None
    packets_per_tick: float
    would_fit: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)


def check(model: Any, *, calibration: Any = None, **options: Any) -> Check:
    """Say what a model becomes on the chip; nothing is written.

    Args:
        model: as for `compile`.
        calibration: as for `compile`.
        **options: fields of `Settings`.

    Raises:
        LoweringError: a part of the model has no counterpart on the chip; the message names it.
        ValueError: an option is wrong.
    """
    settings = Settings(**options)
    source = read_source(model, settings.reset)
    network = settings.network(source.graph, calibration)
    return check_network(network, settings, source.name)


def check_network(network: Network, settings: Settings, name: str) -> Check:
    """As `check`, for a network that has a precision."""
    plan, problem = _plan(network, settings)
    mapped: Mapped | None = None
    if plan is not None:
        try:
            mapped = map_network(network, settings, plan)
        except ValueError as error:
            problem = str(error)
    available = _available(settings)
    busiest = 0.0
    if mapped is not None:
        busiest = max(link_traffic(mapped.routes, {}).values(), default=0.0)
    return Check(
        model=name,
        verification=VERIFICATION,
        fits=mapped is not None,
        problem=problem,
        layers=() if plan is None else _layers(network, plan),
        pes=0 if plan is None else plan.pes,
        available=available,
        chips=0 if mapped is None else len({one.chip for one in mapped.placed}),
        capacity=0 if plan is None else plan.chip.data_bytes,
        host_bytes=_host_bytes(network),
        router_entries=None
        if mapped is None
        else max(len(table.entries) for table in mapped.routes.tables.values()),
        packets_per_tick=busiest,
        would_fit=() if mapped is not None else _advice(network, settings, available),
    )


def largest_egru(
    layers: int = 3, *, formats: tuple[str, ...] = ("fp32", "bf16", "int8"),
    densities: tuple[float, ...] = (1.0, 0.5, 0.2, 0.1, 0.05), settings: Settings | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """What fits: the most units a layer of an EGRU with equal layers and inputs.

    Args:
        layers: of the EGRU, at least 1.
        formats: of the weights.
        densities: shares of weights that are not zero, above 0.
        settings: mode, board and so on.

    Returns:
        A row for each format and density: {"weights", "density", "units", "parameters"}.

    Raises:
        ValueError: an argument is wrong.
    """
    check_integer("layers", layers, 1)
    for weight_format in formats:
        check_choice("formats", weight_format, WEIGHT_BYTES)
    for density in densities:
        check_number("densities", density, above=True)
    settings = settings or Settings()
    rows = []
    for weight_format in formats:
        for density in densities:
            low, high = 0, 16
            while _holds(layers, high, density, weight_format, settings):
                low, high = high, 2 * high
            while high - low > 1:
                units = (low + high) // 2
                fits = _holds(layers, units, density, weight_format, settings)
                low, high = (units, high) if fits else (low, units)
            parameters = layers * (6 * low * low + 7 * low)
            rows.append(
                {
                    "weights": weight_format,
                    "density": density,
                    "units": low,
                    "parameters": parameters,
                }
            )
    return rows


def _holds(layers: int, units: int, density: float, weight_format: str, settings: Settings) -> bool:
    """Whether an EGRU with equal layers fits."""
    sketch = sketch_egru(units, (units,) * layers, density, weight_format)
    plan, _ = _plan(sketch, settings)
    return plan is not None and plan.pes <= _available(settings)


def _plan(network: Network, settings: Settings) -> tuple[Plan | None, str]:
    try:
        return settings.plan(network), ""
    except ValueError as error:
        return None, str(error)


def _available(settings: Settings) -> int:
    from .chip import load_chip
    from .mapping.place import board_chips

    usable = settings.pes or load_chip(settings.profile).usable_pes
    return usable * len(board_chips(settings.board))


def _layers(network: Network, plan: Plan) -> tuple[LayerCheck, ...]:
    rows = []
    for name, layout in plan.layouts.items():
        slices = plan.slices[name]
        forms = {
            f"{form} {one.weight_format}"
            for part in (slices[0], slices[-1])
            for one, (form, _) in zip(
                layout.incoming, layout.weight_bytes(part.first, part.count), strict=True
            )
        }
        sizes = [layout.bytes(one.first, one.count) for one in slices]
        rows.append(
            LayerCheck(
                name, layout.population.kind, layout.population.units,
                sum(_size(one.operation.weights) for one in layout.incoming),
                sum(_nonzeros(one.operation.weights) for one in layout.incoming),
                ", ".join(sorted(forms)), sum(sizes), len(slices), max(sizes), layout.queue_depth,
            )
        )  # fmt: skip
    for out in network.outputs:
        for layer in out.layers:
            size, nonzeros = layer.weight.size, int(np.count_nonzero(layer.weight))
            rows.append(
                LayerCheck(
                    layer.name, "host", len(layer.weight), size, nonzeros, "fp32", 4 * size, 0, 0, 0
                )
            )
    return tuple(rows)


def _size(weights: Any) -> int:
    return int(weights.size)


def _nonzeros(weights: Any) -> int:
    density = getattr(weights, "density", None)
    return int(np.count_nonzero(weights)) if density is None else round(density * weights.size)


def _host_bytes(network: Network) -> int:
    arrays = {}
    for one in network.populations.values():
        if one.embedding is not None:
            arrays[one.embedding.tobytes()] = one.embedding.size
    for out in network.outputs:
        for layer in out.layers:
            arrays[layer.weight.tobytes()] = layer.weight.size
    return 4 * sum(arrays.values())


def _advice(network: Network, settings: Settings, available: int) -> tuple[str, ...]:
    """Single changes, each of which makes the network fit, and the board for it as it is."""
    found = []

    def pes(changed: Network, changes: Mapping[str, Any]) -> int | None:
        plan, _ = _plan(changed, replace(settings, **changes))
        return None if plan is None else plan.pes

    if settings.profile != "default":
        need = pes(network, {"profile": "default", "mode": None})
        if need is not None and need <= available:
            found.append(f"profile 'default': {need} PEs")
    formats = {one.weight_format for one in network.projections}
    for weight_format in _FORMATS:
        smaller = weight_format == "int8" or "fp32" in formats
        need = pes(sketched(network, None, weight_format), {}) if smaller else None
        if formats != {weight_format} and need is not None and need <= available:
            exact = weight_format == "bf16" and all(map(_is_bf16, network.projections))
            note = "exact" if exact else "weights are rounded"
            found.append(f"precision {shorten(weight_format)}: {need} PEs ({note})")
    if settings.profile != "published":  # which has one mode
        other = "gather" if settings.mode == "events" else "events"
        need = pes(network, {"mode": other})
        if need is not None and need <= available:
            found.append(f"mode {shorten(other)}: {need} PEs")
    density = _fitting_density(network, settings, available)
    if density is not None:
        found.append(f"pruning to {density:.1%} of the weights (evenly spread)")
    found += _boards(network, settings)
    return tuple(found)


def _is_bf16(one: Projection) -> bool:
    """Whether bf16 holds every weight exactly."""
    weights = one.operation.weights
    if isinstance(weights, Sketch):
        return False
    return not (np.ascontiguousarray(weights, np.float32).view(np.uint32) & 0xFFFF).any()


def _fitting_density(network: Network, settings: Settings, available: int) -> float | None:
    """The largest share of weights, in steps of 0.5 %, with which the network fits."""
    if all(isinstance(one.operation, Convolution) for one in network.projections):
        return None

    def fits(steps: int) -> bool:
        plan, _ = _plan(sketched(network, steps / 200, None), settings)
        return plan is not None and plan.pes <= available

    if not fits(1):
        return None
    low, high = 1, 200
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low / 200


def _boards(network: Network, settings: Settings) -> list[str]:
    plan, _ = _plan(network, settings)
    if plan is None:
        return []
    chips = -(-plan.pes // plan.usable_pes)
    boards = -(-chips // 48)
    if boards == 1:
        return [f"board '48': {plan.pes} PEs on {chips} chips"]
    return [f"{boards} boards of 48 chips: {plan.pes} PEs on {chips} chips (extrapolated)"]
