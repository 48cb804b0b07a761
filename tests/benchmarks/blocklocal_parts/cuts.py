"""Which timm models are cut into blocks, and pass the leak check."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

import torch
from record import Rows


def _classes(module: str) -> set[str]:
    """Names of the classes of models in a file of timm."""
    found = vars(import_module(f"timm.models.{module}"))
    kinds = {one for one in found.values() if isinstance(one, type)}
    whole = {one for one in kinds if issubclass(one, torch.nn.Module)}
    own = {one for one in whole if one.__module__ == f"timm.models.{module}"}
    return {one.__name__ for one in own if hasattr(one, "forward_features")}


def _on_meta(name: str) -> Any:
    """A timm model on the meta device, or on the CPU if it cannot be made there."""
    import timm

    try:
        with torch.device("meta"):
            return timm.create_model(name)
    except (RuntimeError, NotImplementedError):
        return timm.create_model(name)


def cuts(quick: bool) -> Rows:
    """Split one model of each timm class into 4 blocks; a row for each one."""
    import timm

    from evenfall_blocklocal import check_leaks, split_blocks

    done: set[str] = set()
    rows = []
    for module in timm.list_modules()[: 3 if quick else None]:
        wanted = _classes(module)
        for name in timm.list_models(module=module):
            if wanted <= done:
                break
            model = _on_meta(name)
            size = sum(p.numel() for p in model.parameters())
            kind = type(model).__name__
            if size > 60e6 or kind in done:
                continue
            done.add(kind)
            row: dict[str, Any] = {
                "part": "cuts",
                "model": name,
                "class": kind,
                "million": round(size / 1e6, 1),
            }
            try:
                split = split_blocks(model, 4)
                check_leaks(model, split)
                row |= {"legal": len(split.legal), "result": "ok"}
            except Exception as error:  # the row says what failed
                row |= {"legal": 0, "result": f"{type(error).__name__}: {error}"[:300]}
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    return rows
