"""The models of this plugin. Importing this module registers them with transformers."""

from __future__ import annotations

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from .geometric.configuration_geometric_mamba import GeometricMambaConfig
from .geometric.modeling_geometric_mamba import GeometricMambaForCausalLM, GeometricMambaModel

AutoConfig.register("geometric_mamba", GeometricMambaConfig, exist_ok=True)
AutoModel.register(GeometricMambaConfig, GeometricMambaModel, exist_ok=True)
AutoModelForCausalLM.register(GeometricMambaConfig, GeometricMambaForCausalLM, exist_ok=True)

__all__ = ["GeometricMambaConfig", "GeometricMambaForCausalLM", "GeometricMambaModel"]
