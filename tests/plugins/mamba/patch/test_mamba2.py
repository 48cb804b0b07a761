"""The Mamba-2 part of the target "transformers": what it covers and reverts."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import transformers

import evenfall
from evenfall_mamba import MAMBA2_FAMILIES

OWNERS = [importlib.import_module(family.module) for family in MAMBA2_FAMILIES]
CLASSES = [
    getattr(owner, f"{family.name}{ending}")
    for owner, family in zip(OWNERS, MAMBA2_FAMILIES, strict=True)
    for ending in ("ForCausalLM", "Model")
]


def snapshot() -> list[dict[str, Any]]:
    return [dict(vars(owner)) for owner in (*OWNERS, *CLASSES)]


def test_every_mamba_2_model_of_the_host_is_covered() -> None:
    models = Path(transformers.__file__).parent / "models"
    covered = set()
    for path in models.glob("*/modeling_*.py"):
        if "def mamba2_chunk_scan(" in path.read_text():
            covered.add(f"transformers.models.{path.parent.name}.{path.stem}")
    assert covered == {family.module for family in MAMBA2_FAMILIES}


def test_reverting_restores_the_originals() -> None:
    before = snapshot()
    with evenfall.patch("mamba", targets=["transformers"]):
        changed = [
            sum(new[name] is not old for name, old in old_names.items())
            for new, old_names in zip(snapshot(), before, strict=True)
        ]
        assert all("__call__" in vars(one) for one in CLASSES)
        assert changed == [6] * 6 + [1] * 12
    for after, old in zip(snapshot(), before, strict=True):
        assert all(after[name] is old[name] for name in old)
        assert after.keys() == old.keys()
