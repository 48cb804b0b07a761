"""Where models come from: modules, graphs, and paths of checkpoints, graphs and NIR files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenfall import registry
from evenfall.errors import shorten
from evenfall.exporting import lower
from evenfall.graph import Graph
from evenfall.graph.layers import Reset


@dataclass(frozen=True, eq=False)
class Source:
    """A graph, its name, and the file of its tokenizer, if it has one."""

    graph: Graph
    name: str
    tokenizer: Path | None = None


def read_source(model: Any, reset: Reset | None = None) -> Source:
    """The graph of a module, a Graph, or a path.

    Args:
        model: a module that has a lowering, a Graph, or a path: the folder of a checkpoint
            (config.json) or of a saved graph (graph.json), or a .nir file.
        reset: for a .nir file, see `read_nir`; by default "value".

    Raises:
        FileNotFoundError: no such path.
        LoweringError: a part of the model has no lowering.
        ValueError: the path holds no model, or `reset` is given for one that states it itself.
    """
    is_path = isinstance(model, str | Path)
    if reset is not None and not (is_path and Path(model).suffix == ".nir"):
        raise ValueError(f"reset: got {shorten(reset)}, but only a .nir file leaves the reset open")
    if isinstance(model, Graph):
        return Source(model, str(model.metadata.get("name", "graph")))
    if not is_path:
        graph = lower(model)
        return Source(graph, str(graph.metadata.get("name", type(model).__name__)))
    path = Path(model)
    if not path.exists():
        raise FileNotFoundError(f"model {path} not found")
    if path.suffix == ".nir":
        from .nir_files import read_nir

        return Source(read_nir(path, reset=reset or "value"), path.stem)
    if (path / "graph.json").is_file():
        return Source(Graph.load(path), path.name)
    if (path / "config.json").is_file():
        tokenizer = path / "tokenizer.json"
        return Source(_load_checkpoint(path), path.name, tokenizer if tokenizer.is_file() else None)
    raise ValueError(f"model {path}: want a folder with config.json or graph.json, or a .nir file")


def _load_checkpoint(folder: Path) -> Graph:
    """The graph of a checkpoint, loaded by the registered model that its config names."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (architecture,) = config["architectures"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"model {folder}: config.json names no architecture ({error})") from None
    if architecture not in registry.models:
        known = ", ".join(registry.models.names())
        raise ValueError(
            f"model {folder}: {architecture} is not registered; registered are {known}"
        )
    model = registry.models.get(architecture).from_pretrained(folder)
    return lower(model.eval())
