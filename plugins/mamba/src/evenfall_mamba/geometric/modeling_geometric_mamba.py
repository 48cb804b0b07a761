"""Mamba models whose state decays with the time between tokens.

B batch   L tokens
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import MambaForCausalLM, MambaModel, MambaPreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_utils import PreTrainedModel
from transformers.models.mamba.modeling_mamba import (
    MambaCausalLMOutput,
    MambaOutput,
    MambaRMSNorm,
)

from ..huggingface.packed import PACKING, marks_sequences
from .configuration_geometric_mamba import GeometricMambaConfig
from .coordinates import last_coordinate, next_coordinates, time_steps
from .layer_geometric_mamba import GeometricMambaBlock, GeometricMambaMixer

try:
    from transformers.modeling_utils import slice_logits_to_keep
except ImportError:  # transformers before 5.21

    def slice_logits_to_keep(hidden_states: Tensor, logits_to_keep: int | Tensor) -> Tensor:
        """The last `logits_to_keep` positions, or those in a tensor of indices."""
        index = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        return hidden_states[:, index]


_CACHE = fields(MambaOutput)[1].name
"""The name of the cache in this version of transformers: "cache" from 5.24, else "cache_params"."""


def _refuse_packing(keywords: Mapping[str, Any]) -> None:
    """Packed sequences would mix without notice."""
    if marks_sequences(keywords):
        names = [name for name in PACKING if keywords.get(name) is not None]
        raise ValueError(
            f"{names[0]} must not mark packed sequences, which GeometricMamba does not support; "
            "pass each sequence as a row of its own, with attention_mask"
        )


class GeometricMambaPreTrainedModel(MambaPreTrainedModel):
    """Initialises weights like Mamba, and the scales to Mamba's step size for an input of zero."""

    config_class = GeometricMambaConfig
    config: GeometricMambaConfig
    _no_split_modules: ClassVar[list[str]] = ["GeometricMambaBlock", "GeometricMambaMixer"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if not isinstance(module, GeometricMambaMixer):
            super()._init_weights(module)
            return
        others = (p for name, p in module.named_parameters() if name != "step_bias")
        # the host rescales out_proj on each call, even if it was loaded
        if not all(getattr(p, "_is_hf_initialized", False) for p in others):
            super()._init_weights(module)
        init.copy_(module.step_bias, module.dt_proj.bias)


class GeometricMambaModel(GeometricMambaPreTrainedModel, MambaModel):
    """The base model. It loads weights of an ordinary Mamba and derives the scales from them."""

    def __init__(self, config: GeometricMambaConfig):
        PreTrainedModel.__init__(self, config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        layers = range(config.num_hidden_layers)
        self.layers = nn.ModuleList([GeometricMambaBlock(config, layer) for layer in layers])
        self.gradient_checkpointing = False
        self.norm_f = MambaRMSNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self._register_load_state_dict_pre_hook(self.load_hook)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        cache: Cache | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        attention_mask: Tensor | None = None,
        coordinates: Tensor | None = None,
        cache_params: Cache | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...] | MambaOutput:
        """MambaModel's forward with `coordinates` (B, L), the time or position of each token.

        Coordinates must be finite and not decrease along a row. Only differences matter, so the
        origin is arbitrary. Tokens that `attention_mask` (B, L) excludes may have any value. Calls
        that share a cache must all have coordinates, or none. Without coordinates this is an
        ordinary Mamba. `cache_params` is the name of `cache` in transformers before 5.24.

        Raises:
            ValueError: both or neither of input_ids and inputs_embeds; invalid coordinates; packed
                sequences.
            TypeError: coordinates are not floating point.
        """
        if (input_ids is None) == (inputs_embeds is None):
            got = "neither" if input_ids is None else "both"
            raise ValueError(f"pass exactly one of input_ids and inputs_embeds, got {got}")
        config = self.config
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        use_cache = (config.use_cache and not self.training) if use_cache is None else use_cache
        use_cache = use_cache and not (self.gradient_checkpointing and self.training)
        cache = cache_params if cache is None else cache
        _refuse_packing(kwargs | {"attention_mask": attention_mask, "cache": cache})
        if use_cache and cache is None:
            cache = DynamicCache(config=config)
        hidden = self.embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        steps = time_steps(coordinates, hidden, attention_mask, cache)
        states = []
        for block in self.layers:
            hidden = block(hidden, cache=cache, attention_mask=attention_mask, steps=steps)
            states.append(hidden)
        hidden = self.norm_f(hidden)
        hidden_states = (*states, hidden) if output_hidden_states else None
        # by position: the name of the cache depends on the version of transformers
        output = MambaOutput(hidden, cache if use_cache else None, hidden_states)
        return_dict = config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()


class GeometricMambaForCausalLM(GeometricMambaPreTrainedModel, MambaForCausalLM):
    """The language model: MambaForCausalLM with coordinates."""

    def __init__(self, config: GeometricMambaConfig):
        PreTrainedModel.__init__(self, config)
        self.backbone = GeometricMambaModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, coordinates: Tensor | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """MambaForCausalLM's inputs, and coordinates that advance by `config.generation_step`."""
        inputs = super().prepare_inputs_for_generation(input_ids, **kwargs)
        if coordinates is not None and not kwargs.get("is_first_iteration"):
            step, last = self.config.generation_step, last_coordinate(inputs.get(_CACHE))
            if last is None:
                missing = input_ids.shape[1] - coordinates.shape[1]
                new = next_coordinates(coordinates[:, -1:], missing, step)
                coordinates = torch.cat([coordinates, new], dim=1)
            else:
                coordinates = next_coordinates(last, inputs["input_ids"].shape[1], step)
        inputs["coordinates"] = coordinates
        return inputs

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        cache: Cache | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        coordinates: Tensor | None = None,
        cache_params: Cache | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...] | MambaCausalLMOutput:
        """Logits (B, L, vocabulary), and with `labels` (B, L) the loss; labels are shifted here.

        `coordinates` and errors are as in GeometricMambaModel, the rest as in MambaForCausalLM.
        """
        base_output = self.backbone(
            input_ids,
            inputs_embeds=inputs_embeds,
            cache=cache_params if cache is None else cache,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            attention_mask=attention_mask,
            coordinates=coordinates,
            **{name: kwargs[name] for name in PACKING if name in kwargs},
        )
        hidden = slice_logits_to_keep(base_output.last_hidden_state, logits_to_keep)
        logits = self.lm_head(hidden.to(self.lm_head.weight.dtype)).float()
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.config.vocab_size, **kwargs)
        output = MambaCausalLMOutput(
            loss, logits, getattr(base_output, _CACHE), base_output.hidden_states
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()


__all__ = ["GeometricMambaForCausalLM", "GeometricMambaModel", "GeometricMambaPreTrainedModel"]
