"""mamba_ssm's Mamba-2 blocks on the CPU: equal to transformers' mixer, packed, stepped, adapted."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Mamba2Config
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

import evenfall

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mamba_ssm") is None, reason="mamba_ssm is not installed"
)
CLOSE: dict[str, float] = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture
def host() -> Iterator[ModuleType]:
    """mamba_ssm, patched."""
    with evenfall.patch("mamba", targets=["mamba_ssm"]):
        importlib.import_module("mamba_ssm")
        yield importlib.import_module("mamba_ssm.modules.mamba2")


def make(host: ModuleType, **options: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"d_state": 8, "headdim": 16, "ngroups": 2, "layer_idx": 0}
    return host.Mamba2(32, **{**sizes, **options})


def x(length: int = 12, batch: int = 2) -> Tensor:
    return torch.randn(batch, length, 32, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("fused", [True, False])
def test_output_and_gradients_equal_transformers(host: ModuleType, fused: bool) -> None:
    config = Mamba2Config(
        hidden_size=32, num_heads=4, head_dim=16, state_size=8, n_groups=2, chunk_size=4,
        num_hidden_layers=1,
    )  # fmt: skip
    mixer = Mamba2Mixer(config, layer_idx=0).eval()
    layer = make(host, use_mem_eff_path=fused, bias=False)
    layer.load_state_dict(mixer.state_dict())
    want, got = mixer(x()), layer(x())
    torch.testing.assert_close(got, want, **CLOSE)
    names = dict(layer.named_parameters())
    pairs = (
        torch.autograd.grad(out.square().sum(), [dict(module.named_parameters())[n] for n in names])
        for out, module in ((got, layer), (want, mixer))
    )
    for name, one, other in zip(names, *pairs, strict=True):
        scale = float(other.abs().max().clamp(min=1e-2))
        torch.testing.assert_close(
            one / scale, other / scale, rtol=0, atol=2e-5, msg=lambda t, name=name: f"{name}: {t}"
        )


@pytest.mark.parametrize(
    "options",
    [{}, {"rmsnorm": False}, {"norm_before_gate": True}, {"d_ssm": 32}, {"dt_limit": (0.02, 0.05)},
     {"D_has_hdim": True}],
    ids=str,
)  # fmt: skip
def test_the_fused_path_equals_the_separate_one(host: ModuleType, options: Any) -> None:
    fused, separate = (make(host, use_mem_eff_path=path, **options) for path in (True, False))
    separate.load_state_dict(fused.state_dict())
    torch.testing.assert_close(fused(x()), separate(x()), **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"rmsnorm": False, "ngroups": 1}], ids=str)
def test_tokens_one_by_one_equal_the_whole(host: ModuleType, options: Any) -> None:
    layer = make(host, **options)
    whole = layer(x())
    inference = SimpleNamespace(key_value_memory_dict={}, seqlen_offset=0)
    parts = [layer(x()[:, :7], inference_params=inference)]
    for t in range(7, 12):
        inference.seqlen_offset = t
        parts.append(layer(x()[:, t : t + 1], inference_params=inference))
    torch.testing.assert_close(torch.cat(parts, 1), whole, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ["seq_idx", "cu_seqlens"])
def test_packed_sequences_stay_apart(host: ModuleType, fused: bool, name: str) -> None:
    """With cu_seqlens alone the host mixes them."""
    layer, row = make(host, use_mem_eff_path=fused), x(batch=1)
    packing = {
        "seq_idx": torch.tensor([[0] * 5 + [1] * 7], dtype=torch.int32),
        "cu_seqlens": torch.tensor([0, 5, 12], dtype=torch.int32),
    }
    separate = torch.cat([layer(row[:, :5]), layer(row[:, 5:])], 1)
    torch.testing.assert_close(layer(row, **{name: packing[name]}), separate, **CLOSE)


@torch.no_grad()
def test_packed_prompts_leave_a_state_for_each(host: ModuleType) -> None:
    layer, row = make(host), x(batch=1)
    bounds = torch.tensor([0, 5, 12], dtype=torch.int32)
    inference = SimpleNamespace(key_value_memory_dict={}, seqlen_offset=0)
    layer(row, cu_seqlens=bounds, inference_params=inference)
    inference.seqlen_offset = 12
    token = x(1, 2)
    got = layer(token, inference_params=inference)
    for index, piece in enumerate((row[:, :5], row[:, 5:])):
        want = layer(torch.cat([piece, token[index : index + 1]], 1))[:, -1]
        torch.testing.assert_close(got[index], want, **CLOSE)


def test_an_adapter_on_the_output_projection_counts(host: ModuleType) -> None:
    class Adapter(nn.Module):
        def __init__(self, base: nn.Linear) -> None:
            super().__init__()
            self.base = base

        @property
        def weight(self) -> Tensor:
            return self.base.weight

        @property
        def bias(self) -> Tensor | None:
            return self.base.bias

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.base(x)
            return out + 1

    layer = make(host)
    plain = layer(x())
    layer.out_proj = Adapter(layer.out_proj)
    torch.testing.assert_close(layer(x()), plain + 1, **CLOSE)
    assert layer.use_mem_eff_path


@pytest.mark.parametrize("fused", [True, False])
def test_the_simple_block_has_initial_states(host: ModuleType, fused: bool) -> None:
    simple = importlib.import_module("mamba_ssm.modules.mamba2_simple")
    torch.manual_seed(0)
    layer = simple.Mamba2Simple(
        32, d_state=8, headdim=16, learnable_init_states=True, use_mem_eff_path=fused
    )
    before = layer(x())
    before.sum().backward()
    assert layer.init_states.grad.abs().sum() > 0
    with torch.no_grad():
        layer.init_states.add_(1)
        assert (layer(x()) - before).abs().max() > 1e-3


@torch.no_grad()
def test_a_language_model_generates(host: ModuleType) -> None:
    models = importlib.import_module("mamba_ssm.models.mixer_seq_simple")
    config = importlib.import_module("mamba_ssm.models.config_mamba").MambaConfig(
        d_model=32, n_layer=2, vocab_size=40,
        ssm_cfg={"layer": "Mamba2", "d_state": 8, "headdim": 16},
    )  # fmt: skip
    torch.manual_seed(0)
    model = models.MambaLMHeadModel(config)
    ids = torch.randint(40, (1, 6))
    tokens = model.generate(ids, max_length=10, top_k=1)
    for length in range(6, 10):
        assert model(tokens[:, :length]).logits[0, -1].argmax() == tokens[0, length]


def test_functions_run_the_original_on_cuda(host: ModuleType) -> None:
    ops = importlib.import_module("mamba_ssm.ops.triton.ssd_combined")
    assert host.mamba_chunk_scan_combined is not ops.MambaChunkScanCombinedFn
    original: Callable[..., Any] = ops.mamba_chunk_scan_combined.__wrapped__
    assert original.__module__ == "mamba_ssm.ops.triton.ssd_combined"


def test_blocks_are_restored() -> None:
    with evenfall.patch("mamba", targets=["mamba_ssm"]):
        block = importlib.import_module("mamba_ssm.modules.mamba2")
        inside = block.Mamba2.forward, block.mamba_chunk_scan_combined
    assert block.Mamba2.forward is inside[0].__wrapped__
    assert block.mamba_chunk_scan_combined is inside[1].__wrapped__


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_the_scan_and_its_gradients_equal_the_host_s_reference(
    host: ModuleType, groups: int
) -> None:
    module = importlib.import_module("mamba_ssm.ops.triton.ssd_combined")
    g = torch.Generator().manual_seed(groups)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g).requires_grad_()

    x, z, dt = normal(2, 128, 8, 16), normal(2, 128, 8, 16), normal(2, 128, 8)
    B, C, D, bias = normal(2, 128, groups, 8), normal(2, 128, groups, 8), normal(8, 16), normal(8)
    A = (-0.2 * torch.rand(8, generator=g)).requires_grad_()  # stronger: its gradients are NaN
    signals, options = (x, dt, A, B, C, 64), {"D": D, "z": z, "dt_bias": bias, "dt_softplus": True}
    want = module.ssd_chunk_scan_combined_ref(*signals, **options)
    got = module.mamba_chunk_scan_combined(*signals, **options)
    torch.testing.assert_close(got, want, **CLOSE)
    pairs = (
        torch.autograd.grad(y.square().mean(), (x, dt, A, B, C, D, z, bias)) for y in (got, want)
    )
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=float(1e-5 * other.abs().max()))
