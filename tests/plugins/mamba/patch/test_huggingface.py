"""The target "transformers": what it covers, reverts and refuses."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.cache_utils import Cache

import evenfall
from evenfall import registry
from evenfall.errors import PatchError
from evenfall_mamba import FAMILIES

MODULES = [importlib.import_module(family.module) for family in FAMILIES]


def snapshot() -> list[dict[str, Any]]:
    return [dict(vars(owner)) for owner in (*MODULES, Cache)]


def test_every_mamba_1_model_of_the_host_is_covered() -> None:
    models = Path(transformers.__file__).parent / "models"
    covered = set()
    for path in models.glob("*/modeling_*.py"):
        names = {n.name for n in ast.walk(ast.parse(path.read_text())) if hasattr(n, "name")}
        if "mamba_selective_scan" in names:
            covered.add(f"transformers.models.{path.parent.name}.{path.stem}")
    assert covered == {family.module for family in FAMILIES}


def test_reverting_restores_the_originals() -> None:
    before = snapshot()
    with evenfall.patch("mamba"):
        inside = snapshot()
        changed = [
            sum(new[name] is not old for name, old in old_names.items())
            for new, old_names in zip(inside, before, strict=True)
        ]
        assert changed == [6, 6, 6, 5, 1]
    for after, old in zip(snapshot(), before, strict=True):
        assert all(after[name] is old[name] for name in old)
        assert after.keys() == old.keys()


def test_patching_twice_is_refused() -> None:
    with evenfall.patch("mamba"), pytest.raises(PatchError, match="already applied to transf"):
        evenfall.patch("mamba", targets=["transformers"]).apply()


def test_untested_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot()
    monkeypatch.setattr("evenfall.installed.version", lambda name: "5.99.0")
    with pytest.raises(PatchError, match=r"transformers 5\.99\.0 is not a tested version, want"):
        evenfall.patch("mamba").apply()
    assert [set(map(id, names.values())) for names in snapshot()] == [
        set(map(id, names.values())) for names in before
    ]


def test_other_signature_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULES[-1], "mamba_selective_scan", lambda u, initial_state: u)
    before = snapshot()
    with pytest.raises(PatchError, match=r"zamba\.mamba_selective_scan takes \(u, initial_state\)"):
        evenfall.patch("mamba").apply()
    for after, old in zip(snapshot(), before, strict=True):
        assert all(after[name] is old[name] for name in old)


def test_it_is_registered() -> None:
    entry = registry.patches.provenance("mamba")
    assert entry.owner.distribution == "evenfall-mamba"
    assert entry.metadata["targets"] == list(registry.patches.get("mamba").targets)


def test_plugin_imports_no_framework() -> None:
    code = "import evenfall_mamba.plugin, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=3600).returncode == 0


@torch.no_grad()
def test_fallback_warnings_are_gone(
    make_model: Callable[[str], Any], ids: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.integrations import hub_kernels

    warnings: list[str] = []
    monkeypatch.setattr(hub_kernels.logger, "warning_once", warnings.append)
    model = make_model("Mamba")
    model(ids)
    if not any("selective_scan_fn" in text for text in warnings):
        pytest.skip("transformers before 5.17 gives no warning")
    warnings.clear()
    with evenfall.patch("mamba"):
        model.generate(ids, max_new_tokens=2, attention_mask=torch.ones_like(ids))
    assert warnings == []
