"""The manifest of an image and the contents of its files, as docs/spinnaker2-image.md says."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from evenfall.graph import Graph

from .chip import Chip
from .image import Blob, pack, pack_table
from .image.folder import HOST_ARRAYS, TOKENIZER
from .lowering.network import Network, Population
from .mapped import Mapped
from .mapping.blobs import make_blob
from .mapping.route import Routes
from .settings import Settings
from .sources import Source

VERIFICATION = "emulator-verified, not run on hardware"


def make_manifest(
    source: Source, mapped: Mapped, settings: Settings
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest of an image without its list of files, and the bytes of each file by name.

    Raises:
        ValueError: a blob exceeds the memory of a processing element.
    """
    contents: dict[str, bytes] = {}
    rows = []
    order = list(mapped.network.populations)
    chip = mapped.plan.chip
    for number, one in enumerate(mapped.placed):
        layout = mapped.plan.layouts[one.slice.population]
        blob = make_blob(layout, one.slice, mapped.routes.keys, chip.data_address)
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
            "mode": settings.mode,
            "precision": settings.precision,
            "profile": settings.profile,
            "board": settings.board,
            "decoder": settings.decoder,
            "integrator": settings.integrator,
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
    return manifest, contents


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
