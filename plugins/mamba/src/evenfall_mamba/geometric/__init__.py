"""Mamba that takes the time or place of each token; importing this registers it."""

from __future__ import annotations

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from .configuration_geometric_mamba import GeometricMambaConfig
from .modeling_geometric_mamba import GeometricMambaForCausalLM, GeometricMambaModel

AutoConfig.register("geometric_mamba", GeometricMambaConfig, exist_ok=True)
AutoModel.register(GeometricMambaConfig, GeometricMambaModel, exist_ok=True)
AutoModelForCausalLM.register(GeometricMambaConfig, GeometricMambaForCausalLM, exist_ok=True)

__all__ = ["GeometricMambaConfig", "GeometricMambaForCausalLM", "GeometricMambaModel"]
