"""The operations as layers of the `kernels` package: its rules, and the package itself."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
import torch
import transformers
from packaging.version import Version
from torch import Tensor, nn

from evenfall_mamba import FAMILIES
from evenfall_mamba.huggingface.hub_kernels import (
    DEVICES,
    OPERATIONS,
    causal_conv1d_fn,
    kernel_mapping,
)

MODULES = [importlib.import_module(family.module) for family in FAMILIES]
DECORATOR = "use_kernel_func_from_hub_with_fallback"
ATTRIBUTES = {"selective_scan_fn": "mamba_selective_scan"}
"""Name under which the host looks up an operation -> name of its function, if they differ."""


def host_functions(name: str) -> list[Any]:
    functions = [getattr(module, ATTRIBUTES.get(name, name)) for module in MODULES]
    return [getattr(function, "forward", function) for function in functions]


def host_operations() -> dict[str, dict[str, set[str]]]:
    """Name in the decorator -> folder of the model -> sources of the decorated functions."""
    operations: dict[str, dict[str, set[str]]] = {}
    for path in (Path(transformers.__file__).parent / "models").glob("*/modeling_*.py"):
        text = path.read_text(encoding="utf-8")
        if f"@{DECORATOR}(" not in text:
            continue
        for node in ast.parse(text).body:
            for call in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
                if isinstance(call, ast.Call) and ast.unparse(call.func) == DECORATOR:
                    families = operations.setdefault(ast.literal_eval(call.args[0]), {})
                    families.setdefault(path.parent.name, set()).add(ast.unparse(node.body))
    return operations


def test_names_are_those_that_the_host_looks_up() -> None:
    operations, covered = host_operations(), {family.module.split(".")[2] for family in FAMILIES}
    assert all(covered <= set(operations[name]) for name in OPERATIONS)
    # other families look up the same function by this name
    for name in OPERATIONS:
        assert len(set().union(*operations[name].values())) == 1 or set(operations[name]) == covered
    assert set(operations["selective_state_update"]) - covered, "it could be in the mapping"


@pytest.mark.parametrize("name", OPERATIONS)
def test_layer_obeys_the_rules(name: str) -> None:
    repository = kernel_mapping()[name]["cpu"]
    layer = repository.load()
    assert layer.__init__ is nn.Module.__init__
    added = {member for member, _ in inspect.getmembers(layer)}
    added -= {member for member, _ in inspect.getmembers(nn.Module)}
    assert added == {"can_torch_compile", "has_backward"}
    own = list(inspect.signature(layer.forward).parameters.values())[1:]
    for function in host_functions(name):
        theirs = list(inspect.signature(function).parameters.values())
        assert [p.kind for p in own] == [p.kind for p in theirs]
        assert [p.name for p in own] == [p.name for p in theirs]


def test_repositories_are_keys_and_can_be_copied() -> None:
    mapping = kernel_mapping()
    assert copy.deepcopy(mapping) == mapping
    repositories = {repository for devices in mapping.values() for repository in devices.values()}
    assert len(repositories) == len(OPERATIONS)
    assert all(tuple(devices) == DEVICES for devices in mapping.values())


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_model_with_these_layers_computes_the_same(
    make_model: Callable[[str], Any], ids: Tensor, family: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(family.name)
    expected = model(ids).logits
    module = importlib.import_module(family.module)
    calls = []
    for name, devices in kernel_mapping().items():
        layer = devices["cpu"].load()()
        layer.register_forward_hook(lambda *_, name=name: calls.append(name))
        layer.forward = MethodType(type(layer).forward, layer)  # as `kernelize` does
        monkeypatch.setattr(module, ATTRIBUTES.get(name, name), layer)
    torch.testing.assert_close(model(ids).logits, expected, rtol=0, atol=1e-5)
    assert {"causal_conv1d_fn", "selective_scan_fn"} <= set(calls)


@pytest.mark.parametrize("name", ["seq_idx", "cu_seqlens"])
def test_packed_sequences_are_refused(name: str) -> None:
    x, where = torch.randn(1, 4, 6), torch.zeros(1, 6, dtype=torch.int32)
    with pytest.raises(ValueError, match=f"{name} must be None in a kernelized model"):
        causal_conv1d_fn(x, torch.randn(4, 3), **{name: where})


# transformers ignores a version of `kernels` other than the one it wants, so the check is disabled.
IN_THE_PACKAGE = """
import torch
from transformers.utils import import_utils
import_utils.is_kernels_available = lambda *arguments: True
from transformers import MambaConfig, MambaForCausalLM
from transformers.models.mamba import modeling_mamba as host
from kernels import Mode, kernelize, use_kernel_mapping
import evenfall
from evenfall_mamba.huggingface.hub_kernels import kernel_mapping

assert isinstance(host.causal_conv1d_fn, torch.nn.Module)
torch.manual_seed(0)
model = MambaForCausalLM(MambaConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2)).eval()
ids = torch.randint(50, (2, 20))
close = dict(rtol=0, atol=1e-5)
with torch.no_grad():
    before = model(ids).logits
    original = host.causal_conv1d_fn
    with evenfall.patch("mamba", ["transformers"]):
        torch.testing.assert_close(model(ids).logits, before, **close)
    assert host.causal_conv1d_fn is original
    layers = (host.causal_conv1d_fn, host.causal_conv1d_update, host.mamba_selective_scan)
    made_by = lambda: {layer.forward.__func__.__module__ for layer in layers}
    mode = Mode.INFERENCE | Mode.TORCH_COMPILE
    with use_kernel_mapping(kernel_mapping()):
        kernelize(model, mode=mode, device="cpu")
    assert made_by() == {"evenfall_mamba.huggingface.hub_kernels"}
    torch.testing.assert_close(model(ids).logits, before, **close)
    kernelize(model, mode=mode, device="cpu")
    assert "evenfall_mamba.huggingface.hub_kernels" not in made_by()
    with evenfall.patch("mamba", ["transformers"]):
        torch.testing.assert_close(model(ids).logits, before, **close)
"""


def test_in_the_package(tmp_path: Path) -> None:
    try:
        installed = Version(version("kernels"))
    except PackageNotFoundError:
        pytest.skip("kernels is not installed")
    if installed < Version("0.16.2"):
        pytest.skip(f"kernels {installed} is installed, the test needs 0.16.2 or later")
    process = subprocess.run(
        [sys.executable, "-c", IN_THE_PACKAGE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert process.returncode == 0, process.stderr[-4000:]
