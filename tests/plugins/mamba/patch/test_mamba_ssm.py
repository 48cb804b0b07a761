"""The target "mamba_ssm": imports without extensions, trains, generates and reverts fully."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import evenfall
from evenfall import patches, registry
from evenfall.cli.app import app
from evenfall.errors import PatchError
from evenfall_mamba.ssm import convolution, scan, step

CLOSE: dict[str, float] = {"rtol": 1e-4, "atol": 1e-6}
ROOTS = ("mamba_ssm", "causal_conv1d", "causal_conv1d_cuda", "selective_scan_cuda")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
needs_host = pytest.mark.skipif(
    importlib.util.find_spec("mamba_ssm") is None, reason="mamba_ssm is not installed"
)


def modules() -> dict[str, ModuleType]:
    return {n: m for n, m in sys.modules.items() if n.partition(".")[0] in ROOTS}


@pytest.fixture
def host() -> Iterator[ModuleType]:
    """mamba_ssm, patched."""
    with evenfall.patch("mamba", targets=["mamba_ssm"]):
        yield importlib.import_module("mamba_ssm")


def without_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_version(name: str) -> str:
        if name == "mamba-ssm":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("evenfall.installed.version", fake_version)


def test_it_is_registered() -> None:
    assert list(registry.patches.get("mamba").targets) == ["transformers", "mamba_ssm"]


def test_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    without_host(monkeypatch)
    before = modules()
    with pytest.raises(PatchError, match="target 'mamba_ssm': mamba-ssm is not installed"):
        evenfall.patch("mamba", targets=["transformers", "mamba_ssm"]).apply()
    assert modules() == before
    assert patches.applied() == []


def test_untested_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evenfall.installed.version", lambda name: "2.2.4")
    before = modules()
    with pytest.raises(
        PatchError, match=r"mamba-ssm 2\.2\.4 is not a tested version, want mamba-ssm>=2"
    ):
        evenfall.patch("mamba", targets=["mamba_ssm"]).apply()
    assert modules() == before


def test_default_targets_are_the_installed_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    without_host(monkeypatch)
    alone = evenfall.patch("mamba")
    assert alone.targets == ("transformers",)
    assert repr(alone) == "<patch 'mamba' of transformers: not applied>"
    monkeypatch.setattr("evenfall.installed.version", lambda name: "1")
    assert evenfall.patch("mamba").targets == ("transformers", "mamba_ssm")


@needs_host
def test_both_targets_together_leave_no_trace() -> None:
    before = modules()
    with evenfall.patch("mamba") as handle:
        assert handle.targets == ("transformers", "mamba_ssm")
        first = importlib.import_module("mamba_ssm")
        interface = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
        simple = importlib.import_module("mamba_ssm.modules.mamba_simple")
        inside = interface.selective_scan_fn
        for name in handle.stand_ins:
            assert importlib.util.find_spec(name).name.startswith("evenfall_mamba.")
    assert modules() == before
    for owner in (first, interface, simple):
        assert owner.selective_scan_fn.__module__ == "mamba_ssm.ops.selective_scan_interface"
        assert owner.mamba_inner_fn.__module__ == "mamba_ssm.ops.selective_scan_interface"
    assert simple.selective_state_update.__module__.startswith("mamba_ssm.")
    with evenfall.patch("mamba", targets=["mamba_ssm"]):
        again = importlib.import_module("mamba_ssm")
        assert again.selective_scan_fn is inside
        assert again.Mamba is first.Mamba
    assert modules() == before


@needs_host
def test_functions_are_ours(host: ModuleType) -> None:
    simple = importlib.import_module("mamba_ssm.modules.mamba_simple")
    conv = importlib.import_module("causal_conv1d")
    assert host.selective_scan_fn is simple.selective_scan_fn is scan.selective_scan_fn
    assert host.mamba_inner_fn is simple.mamba_inner_fn is scan.mamba_inner_fn
    assert simple.selective_state_update is step.selective_state_update
    for name in ("causal_conv1d_fn", "causal_conv1d_update"):
        assert getattr(simple, name) is getattr(convolution, name)
        if conv.__name__.startswith("evenfall_mamba."):
            assert getattr(conv, name) is getattr(convolution, name)


@contextmanager
def host_reference(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Replaces every kernel by the host's own loops over time."""
    interface = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    simple = importlib.import_module("mamba_ssm.modules.mamba_simple")
    with monkeypatch.context() as patched:
        patched.setattr(simple, "selective_scan_fn", interface.selective_scan_ref)
        for name in ("causal_conv1d_fn", "causal_conv1d_update", "selective_state_update"):
            patched.setattr(simple, name, None)
        yield


def output_and_gradients(layer: Any, x: Tensor) -> dict[str, Tensor]:
    out = layer(x)
    grads = torch.autograd.grad(out.square().sum(), list(layer.parameters()))
    return {"out": out, **dict(zip(dict(layer.named_parameters()), grads, strict=True))}


@needs_host
@pytest.mark.parametrize("fused", [True, False])
def test_layer_trains_as_with_the_reference(
    host: ModuleType, monkeypatch: pytest.MonkeyPatch, fused: bool
) -> None:
    torch.manual_seed(0)
    layer = host.Mamba(16, d_state=8, use_fast_path=fused, device=DEVICE)
    x = torch.randn(2, 13, 16, device=DEVICE)
    got = output_and_gradients(layer, x)
    with host_reference(monkeypatch):
        want = output_and_gradients(layer, x)
    for name, value in got.items():
        scale = float(want[name].detach().abs().max())
        torch.testing.assert_close(value / scale, want[name] / scale, **CLOSE)


@needs_host
def test_fused_function_of_the_host_runs_on_the_stand_ins(host: ModuleType) -> None:
    torch.manual_seed(0)
    interface = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    layer = host.Mamba(16, d_state=8)
    x, weights = torch.randn(2, 13, 16), list(layer.parameters())
    arguments = (
        layer.in_proj(x).transpose(1, 2), layer.conv1d.weight, layer.conv1d.bias,
        layer.x_proj.weight, layer.dt_proj.weight, layer.out_proj.weight, None,
        -torch.exp(layer.A_log), None, None, layer.D, layer.dt_proj.bias, None, None, True, 1,
        None, None, None, 1e-6,
    )  # fmt: skip
    theirs, ours = interface.MambaInnerFn.apply(*arguments), scan.mamba_inner_fn(*arguments)
    torch.testing.assert_close(theirs, ours, **CLOSE)
    both = [torch.autograd.grad(out.square().sum(), weights, retain_graph=True)
            for out in (theirs, ours)]  # fmt: skip
    for their_grad, our_grad in zip(*both, strict=True):
        scale = our_grad.abs().max()
        torch.testing.assert_close(their_grad / scale, our_grad / scale, **CLOSE)


@pytest.fixture
def language_model(host: ModuleType) -> Any:
    torch.manual_seed(0)
    config = importlib.import_module("mamba_ssm.models.config_mamba")
    return host.MambaLMHeadModel(
        config.MambaConfig(d_model=16, n_layer=2, vocab_size=48), device=DEVICE
    )


@needs_host
def test_language_model_generates_what_it_predicts(language_model: Any) -> None:
    model, text = language_model.eval(), torch.randint(48, (2, 5), device=DEVICE)
    got = model.generate(text, max_length=12)
    with torch.no_grad():
        for _ in range(7):
            text = torch.cat([text, model(text).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(got, text)


@needs_host
def test_language_model_learns(language_model: Any) -> None:
    text = torch.randint(48, (2, 12), device=DEVICE)
    optimizer = torch.optim.AdamW(language_model.parameters(), lr=3e-2)
    losses = []
    for _ in range(12):
        logits = language_model(text[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


@needs_host
def test_generation_without_cuda_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with evenfall.patch("mamba", targets=["mamba_ssm"]):
        generation = importlib.import_module("mamba_ssm.utils.generation")
        assert generation.torch is not torch
        config = importlib.import_module("mamba_ssm.models.config_mamba")
        host = importlib.import_module("mamba_ssm")
        model = host.MambaLMHeadModel(config.MambaConfig(16, n_layer=1, vocab_size=8))
        assert model.generate(torch.tensor([[1, 2]]), max_length=4).shape == (1, 4)
    assert generation.torch is torch


@needs_host
def test_host_that_was_imported_before_stays_imported(
    tmp_path: Path, run_script: Callable[..., int]
) -> None:
    code = """
import sys, types
sys.modules["selective_scan_cuda"] = theirs = types.ModuleType("selective_scan_cuda")
import mamba_ssm, mamba_ssm.modules.mamba_simple as simple
import evenfall
names = ("causal_conv1d_fn", "selective_scan_fn", "selective_state_update", "mamba_inner_fn")
modules = lambda: {n: m for n, m in sys.modules.items() if n.startswith(("mamba_ssm", "causal"))}
before, modules_before = [getattr(simple, name) for name in names], modules()
assert before[0] is None or "evenfall" not in before[0].__module__
with evenfall.patch("mamba", targets=["mamba_ssm"]) as handle:
    assert sys.modules["selective_scan_cuda"] is theirs
    assert "selective_scan_cuda" not in handle.stand_ins
    assert all(getattr(simple, name).__module__.startswith("evenfall_mamba") for name in names)
assert [getattr(simple, name) for name in names] == before and modules() == modules_before
"""
    script, output = tmp_path / "script.py", tmp_path / "output.txt"
    script.write_text(code, encoding="utf-8")
    assert run_script(script, output) == 0, output.read_text(encoding="utf-8")


@needs_host
def test_check_times_it() -> None:
    arguments = ["mamba", "check", "--length", "8", "--repeats", "1", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    report = json.loads(result.output)
    assert report["patch"]["targets"] == ["transformers", "mamba_ssm"]
    row = report["speed"][-1]
    assert row["task"].startswith("mamba_ssm")
    assert row["after"] > 0
    if "selective_scan_cuda" in report["patch"]["absent_extensions"]:
        assert row["before"] is row["gain"] is None
