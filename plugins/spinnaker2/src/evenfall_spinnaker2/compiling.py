"""Compile: a model becomes an image for the chip."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evenfall.checks import check_choice, check_flag, check_integer
from evenfall.files import want_replaceable
from evenfall.graph import Graph
from evenfall.graph.layers import Reset

from .chip import Chip, load_chip
from .image import Blob, pack, pack_table, write_image
from .image.codes import MODES
from .image.folder import HOST_ARRAYS, KNOWN, TOKENIZER
from .lowering.from_graph import make_network
from .lowering.network import Network, Population
from .lowering.precision import choose_precision
from .mapping.blobs import make_blob
from .mapping.layout import Options
from .mapping.layouts import Plan, make_plan
from .mapping.place import Placed, board_chips, place
from .mapping.route import Routes, check_routes, route
from .sources import Source, read_source

_MOST = 1 << 20
"""Events of a queue and steps of a recording are below this."""
VERIFICATION = "emulator-verified, not run on hardware"


@dataclass(frozen=True)
class Settings:
    """The options of check and compile.

    Attributes:
        mode: "events" (a row of weights for each event) or "gather" (each unit reads all inputs).
        precision: "auto" (the smallest that holds every weight exactly), "fp32", "bf16" or "int8".
        profile: "default", or "published": the layout of the published language model.
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

    mode: str = "events"
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
        check_choice("mode", self.mode, MODES)
        chip = load_chip(self.profile)
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
            network, self.precision, calibration=calibration, weight_scale=self.weight_scale
        )

    def plan(self, network: Network) -> Plan:
        """The slices of a network, with these options."""
        mode = "gather" if self.profile == "published" else self.mode
        options = Options(
            mode, self.queue_depth, recorded_steps=self.recorded_steps,
            record_values=self.record_values,
        )  # fmt: skip
        return make_plan(network, options, self.profile, self.pes)


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
    placed = place(plan.flat(), plan.chip, chips, plan.usable_pes)
    routes = route(network, placed, chips, plan.chip.router_entries)
    packets = check_routes(routes, network, placed, chips)
    return Mapped(network, plan, chips, placed, routes, packets)


def compile(
    model: Any,
    output: str | Path,
    *,
    calibration: Any = None,
    replace: bool = False,
    **options: Any,
) -> Path:
    """Write an image of a model.

    Args:
        model: a module that has a lowering, a Graph, or a path: a checkpoint's folder, a saved
            graph, or a .nir file.
        output: the folder to write; it appears whole or not at all.
        calibration: examples (N, *input shape), for int8 activations.
        replace: whether an existing folder may be replaced.
        **options: fields of Settings.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder exists, and `replace` is off or it holds no image.
        LoweringError: a part of the model has no counterpart on the chip.
        ValueError: the model does not fit, or an option is wrong.
    """
    want_replaceable(output, replace=replace, known=KNOWN)
    settings = Settings(**options)
    source = read_source(model, settings.reset)
    network = settings.network(source.graph, calibration)
    mapped = map_network(network, settings)
    return _write(output, source, mapped, settings, replace)


def export(model: Any, output: str | Path, **options: Any) -> Path:
    """What `evenfall.export(model, "spinnaker2", output)` calls; see `compile`."""
    return compile(model, output, **options)


def _write(
    output: str | Path, source: Source, mapped: Mapped, settings: Settings, replace: bool
) -> Path:
    contents: dict[str, bytes] = {}
    rows = []
    order = list(mapped.network.populations)
    chip = mapped.plan.chip
    for number, one in enumerate(mapped.placed):
        layout = mapped.plan.layouts[one.slice.population]
        blob = make_blob(mapped.network, layout, one.slice, mapped.routes.keys, chip.data_address)
        data = pack(blob)
        name = f"pes/{number:04d}.bin"
        contents[name] = data
        rows.append(
            {
                "chip": list(one.chip),
                "pe": one.pe,
                "at": list(chip.places[one.pe]),
                "population": order.index(one.slice.population),
                "first_unit": one.slice.first,
                "units": one.slice.count,
                "first_key": blob.first_key,
                "blob": name,
                "memory": _memory_map(blob, len(data), chip),
            }
        )
    routing = []
    for xy, table in mapped.routes.tables.items():
        name = f"routing/{xy[0]}_{xy[1]}.bin"
        contents[name] = pack_table(table)
        routing.append({"chip": list(xy), "file": name, "entries": len(table.entries)})
    host, arrays = _host(mapped.network, order)
    if arrays:
        from safetensors.numpy import save

        contents[HOST_ARRAYS] = save(arrays)
    if source.tokenizer is not None:
        contents[TOKENIZER] = source.tokenizer.read_bytes()
    manifest = {
        "verification": VERIFICATION,
        "model": {
            "name": source.name,
            "graph_sha256": _graph_hash(source.graph),
            "end_tokens": list(source.graph.metadata.get("end_tokens", [])),
        },
        "options": {
            "mode": "gather" if settings.profile == "published" else settings.mode,
            "precision": settings.precision,
            "profile": settings.profile,
            "board": settings.board,
        },
        "chip": {
            "pes": len(chip.places),
            "data_bytes": chip.data_bytes,
            "data_address": chip.data_address,
            "router_entries": chip.router_entries,
            "clock_hz": chip.clock_hz,
            "tick_seconds": settings.dt if _is_spiking(mapped.network) else chip.tick_seconds,
        },
        "chips": [
            list(xy)
            for xy in sorted(
                {one.chip for one in mapped.placed} | {mapped.chips[0]} | set(mapped.routes.tables),
                key=mapped.chips.index,
            )
        ],
        "populations": [
            _population(one, mapped.routes) for one in mapped.network.populations.values()
        ],
        "projections": [
            {
                "name": one.name,
                "source": order.index(one.source),
                "target": order.index(one.target),
                "kind": "matrix" if hasattr(one.operation, "first") else "conv",
                "recurrent": one.is_recurrent,
                "weights": int(one.operation.weights.size),
                "nonzeros": int(np.count_nonzero(one.operation.weights)),
            }
            for one in mapped.network.projections
        ],
        "pes": rows,
        "routing": routing,
        "host": host,
        "tokenizer": TOKENIZER if source.tokenizer is not None else None,
    }
    return write_image(output, manifest, contents, replace=replace)


def _memory_map(blob: Blob, size: int, chip: Chip) -> list[dict[str, Any]]:
    address = blob.load_address
    rows = [
        {"part": "code", "address": 0, "bytes": chip.code_bytes},
        {"part": "blob", "address": address, "bytes": size},
    ]
    address += size
    for part, count in blob.memory().items():
        rows.append({"part": part, "address": address, "bytes": count})
        address += count
    free = chip.data_address + chip.data_bytes - address
    if free < 0:
        raise ValueError(f"a blob of {size} bytes exceeds the memory by {-free} bytes")
    rows.append({"part": "free", "address": address, "bytes": free})
    rows.append({"part": "stack", "address": address + free, "bytes": chip.stack_bytes})
    return rows


def _population(one: Population, routes: Routes) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": one.name,
        "place": "host" if one.kind == "input" else "chip",
        "kind": one.kind,
        "units": one.units,
        "shape": list(one.shape),
        "level": one.level,
        "keys": [[routes.keys[one.name], one.units, 0]],
    }
    if one.scaling:
        row["scaling"] = dict(one.scaling)
    return row


def _host(network: Network, order: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The host's part of the manifest, and its arrays; equal arrays are stored once."""
    arrays: dict[str, Any] = {}
    known: dict[tuple[Any, ...], str] = {}

    def store(name: str, values: Any) -> str:
        array = np.ascontiguousarray(values, np.float32)
        key = (array.shape, hashlib.sha256(array.tobytes()).digest())
        if key not in known:
            known[key] = name
            arrays[name] = array
        return known[key]

    inputs = []
    for name, one in network.populations.items():
        if one.kind == "input":
            row: dict[str, Any] = {"population": order.index(name), "content": one.content}
            if one.embedding is not None:
                row["embedding"] = store(f"{name}.embedding", one.embedding)
            if one.arithmetic == "int8":
                row["quantise_scale"] = one.value_scale
            inputs.append(row)
    outputs = []
    for out in network.outputs:
        layers = []
        for layer in out.layers:
            part = {"weight": store(f"{layer.name}.weight", layer.weight)}
            if layer.bias is not None:
                part["bias"] = store(f"{layer.name}.bias", layer.bias)
            layers.append({**part, "activation": layer.activation})
        outputs.append(
            {
                "name": out.name,
                "population": order.index(out.population),
                "steps": out.steps,
                "labels": list(out.labels),
                "layers": layers,
            }
        )
    return {"inputs": inputs, "outputs": outputs}, arrays


def _is_spiking(network: Network) -> bool:
    return any(one.kind in ("if", "lif", "cuba_lif") for one in network.on_chip())


def _graph_hash(graph: Graph) -> str:
    """SHA-256 of layers, edges and metadata."""
    found = hashlib.sha256(json.dumps([graph.edges, dict(graph.metadata)]).encode())
    for name, layer in graph.layers.items():
        found.update(f"{name} {type(layer).__name__}".encode())
        for key, value in vars(layer).items():
            found.update(key.encode())
            if hasattr(value, "dtype"):
                found.update(f"{value.dtype} {value.shape}".encode() + value.tobytes())
            else:
                found.update(repr(value).encode())
    return found.hexdigest()
