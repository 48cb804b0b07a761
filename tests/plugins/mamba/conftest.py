"""Fixtures: a tiny random model of each family that the patch covers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from transformers import (
    FalconMambaConfig,
    FalconMambaForCausalLM,
    JambaConfig,
    JambaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    ZambaConfig,
    ZambaForCausalLM,
)

COMMON = {
    "vocab_size": 50, "hidden_size": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
PURE = {"num_hidden_layers": 2, "state_size": 8, **COMMON}
HYBRID = {
    "num_hidden_layers": 4, "mamba_d_state": 8, "mamba_dt_rank": 4, "intermediate_size": 32,
    "num_attention_heads": 4, "attn_layer_period": 2, "attn_layer_offset": 1, **COMMON,
}  # fmt: skip
MAKERS: dict[str, Callable[[], Any]] = {
    "Mamba": lambda: MambaForCausalLM(MambaConfig(**PURE)),
    "FalconMamba": lambda: FalconMambaForCausalLM(FalconMambaConfig(**PURE)),
    "Jamba": lambda: JambaForCausalLM(
        JambaConfig(num_key_value_heads=2, num_experts=2, num_experts_per_tok=1, **HYBRID)
    ),
    "Zamba": lambda: ZambaForCausalLM(
        ZambaConfig(
            num_key_value_heads=4, attention_hidden_size=64, n_mamba_heads=2,
            layers_block_type=["mamba", "hybrid"] * 2, **HYBRID,
        )
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make_model(name: str, makers: Mapping[str, Callable[[], Any]] = MAKERS) -> Any:
    """A model in eval mode, with noise on its weights, since some projections start at zero."""
    torch.manual_seed(0)
    model = makers[name]()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "A_log" not in key and parameter.dim() > 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.14)
    return model.eval()


def cache_name(model: Any) -> str:
    """The name of the cache in forward and output. It depends on the model and the version."""
    names = inspect.signature(model.forward).parameters
    return next(name for name in names if name in ("cache", "cache_params", "past_key_values"))


def logits_in_pieces(
    model: Any, ids: torch.Tensor, sizes: list[int], **options: Any
) -> torch.Tensor:
    """Logits of a text that is passed in pieces, with one cache."""
    cache, parts, key = None, [], cache_name(model)
    for piece in ids.split(sizes, dim=1):
        state = {} if cache is None else {key: cache}
        out = model(piece, use_cache=True, **state, **options)
        cache = out[key]
        parts.append(out.logits)
    return torch.cat(parts, dim=1)


@pytest.fixture(params=list(MAKERS))
def model(request: pytest.FixtureRequest) -> Any:
    return make_model(request.param)


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(3, 50, (2, 12), generator=torch.Generator().manual_seed(1))


@pytest.fixture(name="logits_in_pieces")
def _logits_in_pieces() -> Callable[..., torch.Tensor]:
    return logits_in_pieces


@pytest.fixture
def checkpoint_activations() -> Callable[[Any], None]:
    """Turns on gradient checkpointing, whose method has two names in transformers."""
    return lambda model: getattr(
        model, "activation_checkpointing_enable", model.gradient_checkpointing_enable
    )()


@pytest.fixture(name="make_model")
def _make_model() -> Callable[[str], Any]:
    return make_model
