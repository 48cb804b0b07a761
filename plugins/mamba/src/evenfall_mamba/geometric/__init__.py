"""Mamba models that take the time or position of each token. Importing this registers them."""

from __future__ import annotations

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from .configuration_geometric_mamba import GeometricMambaConfig
from .modeling_geometric_mamba import GeometricMambaForCausalLM, GeometricMambaModel

AutoConfig.register("geometric_mamba", GeometricMambaConfig, exist_ok=True)
AutoModel.register(GeometricMambaConfig, GeometricMambaModel, exist_ok=True)
AutoModelForCausalLM.register(GeometricMambaConfig, GeometricMambaForCausalLM, exist_ok=True)

__all__ = ["GeometricMambaConfig", "GeometricMambaForCausalLM", "GeometricMambaModel"]
