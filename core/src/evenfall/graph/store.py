"""Graphs on disk: graph.json states the layers, graph.safetensors has their arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenfall.errors import shorten
from evenfall.files import written_aside
from evenfall.reading import read_json

from .layers import KINDS, Layer

FORMAT, VERSION = "evenfall-graph", 1
_ARRAYS = "graph.safetensors"


def write_graph(
    folder: str | Path,
    layers: Mapping[str, Layer],
    edges: tuple[tuple[str, str], ...],
    metadata: Mapping[str, Any],
    replace: bool,
) -> Path:
    """Write a graph; see `Graph.save`."""
    from safetensors.numpy import save

    arrays, rows = {}, []
    for name, layer in layers.items():
        fields: dict[str, Any] = {}
        for key, value in vars(layer).items():
            if hasattr(value, "dtype"):
                arrays[f"{name}/{key}"] = value
                fields[key] = {"array": f"{name}/{key}"}
            else:
                fields[key] = value
        rows.append({"name": name, "kind": type(layer).__name__, "fields": fields})
    blob = save(arrays)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "layers": rows,
        "edges": edges,
        "metadata": dict(metadata),
        "sha256": hashlib.sha256(blob).hexdigest(),
    }
    with written_aside(folder, replace=replace, known=("graph.json", _ARRAYS)) as aside:
        (aside / _ARRAYS).write_bytes(blob)
        (aside / "graph.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return Path(folder)


def read_graph(
    folder: str | Path,
) -> tuple[dict[str, Layer], tuple[tuple[str, str], ...], dict[str, Any]]:
    """Layers, edges and metadata; see `Graph.load`, which names the file in every error."""
    from safetensors.numpy import load

    folder = Path(folder)
    document = read_json(folder / "graph.json", "graph")
    if document.get("format") != FORMAT:
        raise ValueError(f"graph {folder / 'graph.json'}: not a graph of Evenfall")
    if document.get("version") != VERSION:
        raise ValueError(
            f"graph {folder / 'graph.json'}: version {shorten(document.get('version'))}; this "
            f"release reads {VERSION}"
        )
    blob = (folder / _ARRAYS).read_bytes()
    if hashlib.sha256(blob).hexdigest() != document.get("sha256"):
        raise ValueError(f"graph {folder}: {_ARRAYS} differs from the hash in graph.json")
    arrays = load(blob)
    layers = {row["name"]: _layer(row, arrays) for row in document["layers"]}
    edges = tuple((one, other) for one, other in document["edges"])
    return layers, edges, dict(document["metadata"])


def _layer(row: dict[str, Any], arrays: dict[str, Any]) -> Layer:
    kind = KINDS.get(row["kind"])
    if kind is None:
        name, unknown = shorten(row["name"]), shorten(row["kind"])
        raise ValueError(f"layer {name}: unknown kind {unknown}")
    fields = {
        key: arrays[value["array"]] if isinstance(value, dict) else value
        for key, value in row["fields"].items()
    }
    return kind(**fields)
