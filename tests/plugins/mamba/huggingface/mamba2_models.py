"""A tiny random model of each Mamba-2 family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import (
    BambaConfig,
    BambaForCausalLM,
    FalconH1Config,
    FalconH1ForCausalLM,
    GraniteMoeHybridConfig,
    GraniteMoeHybridForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    NemotronHConfig,
    NemotronHForCausalLM,
    Zamba2Config,
    Zamba2ForCausalLM,
)

from ..conftest import COMMON

ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 32, **COMMON}
MIXER = {
    "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 2,
    "mamba_chunk_size": 4, **ATTENTION,
}  # fmt: skip
MAKERS: dict[str, Callable[[], Any]] = {
    "Mamba2": lambda: Mamba2ForCausalLM(
        Mamba2Config(
            num_hidden_layers=2, num_heads=4, head_dim=16, state_size=8, n_groups=2, chunk_size=4,
            **COMMON,
        )
    ),
    "Bamba": lambda: BambaForCausalLM(
        BambaConfig(num_hidden_layers=3, attn_layer_indices=[1], **MIXER)
    ),
    "FalconH1": lambda: FalconH1ForCausalLM(
        FalconH1Config(num_hidden_layers=2, head_dim=8, mamba_d_ssm=64, **MIXER)
    ),
    "FalconH1 with norm": lambda: FalconH1ForCausalLM(
        FalconH1Config(
            num_hidden_layers=1, head_dim=8, mamba_d_ssm=64, mamba_rms_norm=True, **MIXER
        )
    ),
    "GraniteMoeHybrid": lambda: GraniteMoeHybridForCausalLM(
        GraniteMoeHybridConfig(
            layer_types=["mamba", "attention", "mamba"], num_hidden_layers=3, num_local_experts=2,
            num_experts_per_tok=1, shared_intermediate_size=32, **MIXER,
        )
    ),
    "NemotronH": lambda: NemotronHForCausalLM(
        NemotronHConfig(
            layers_block_type=["mamba", "attention", "mlp", "mamba"], head_dim=8,
            mamba_num_heads=4, mamba_head_dim=16, ssm_state_size=8, n_groups=2, chunk_size=4,
            **ATTENTION,
        )
    ),
    "Zamba2": lambda: Zamba2ForCausalLM(
        Zamba2Config(
            num_hidden_layers=3, layers_block_type=["mamba", "hybrid", "mamba"],
            num_attention_heads=4, num_key_value_heads=4, attention_head_dim=16,
            attention_hidden_size=64, intermediate_size=32, mamba_d_state=8, mamba_headdim=16,
            mamba_ngroups=2, n_mamba_heads=4, chunk_size=4, num_mem_blocks=1,
            use_shared_attention_adapter=False, **COMMON,
        )
    ),
}  # fmt: skip
