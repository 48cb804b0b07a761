"""EGRU for transformers: the base model and the causal language model.

Dimensions: B batch, T time, E embedding, H units of a layer, V vocabulary.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin
from transformers.cache_utils import Cache

from .arguments_egru import LOSS_ARGUMENTS, OF_GENERATE, batch_and_steps, refuse_unknown
from .cache_egru import EgruCacheLayer, EgruStaticCacheLayer, cache_layers
from .configuration_egru import EgruConfig, padding_index
from .continuation_egru import check_update, run_layer
from .fast_egru import make_output, new_cache, settings_of
from .layer_egru import EgruDecoder, EgruLayer, locked_dropout
from .loss_egru import chunked_cross_entropy, share_of_batch
from .packing_egru import longest_of, packed_texts, without_first
from .padding_egru import layout_of
from .pretrained_egru import (
    CACHE,
    EgruCausalLMOutput,
    EgruModelOutput,
    EgruPreTrainedModel,
    wants_dict,
)
from .record_egru import LayerRecord, has_penalty
from .recording_egru import is_recorded
from .step_egru import FORWARD, TokenStep
from .stopping_egru import probed


class EgruModel(EgruPreTrainedModel):
    """Embedding and EGRU layers. Returns the outputs y of the last layer."""

    layer_class: ClassVar[type[nn.Module]] = EgruLayer

    def __init__(self, config: EgruConfig):
        super().__init__(config)
        self.embed_tokens = None
        if config.vocab_size:
            self.embed_tokens = nn.Embedding(
                config.vocab_size, config.embedding_size, padding_index(config)
            )
        self.layers = nn.ModuleList(
            self.layer_class(config, i) for i in range(config.num_hidden_layers)
        )
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embed_tokens = value

    def _embed(
        self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None
    ) -> torch.Tensor:
        if inputs_embeds is not None:
            width = self.config.embedding_size
            if inputs_embeds.shape[-1] != width:
                raise ValueError(
                    f"inputs_embeds must have {width} features, the embedding_size, got "
                    f"{inputs_embeds.shape[-1]}"
                )
            return inputs_embeds
        if self.embed_tokens is None:
            raise ValueError("input_ids need an embedding, got vocab_size 0: pass inputs_embeds")
        if not (self.training and self.config.word_dropout):
            return self.embed_tokens(input_ids)
        weight = self.embed_tokens.weight
        mask = F.dropout(weight.new_ones(len(weight), 1), self.config.word_dropout)
        return self.embed_tokens(input_ids) * mask[input_ids]

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_events: bool = False,
        output_cells: bool = False,
        output_traces: bool = False,
        return_dict: bool | None = None,
        cache: Cache | None = None,
        position_ids: torch.LongTensor | None = None,
        cu_seq_lens_q: torch.Tensor | None = None,
        cu_seq_lens_k: torch.Tensor | None = None,
        max_length_q: int | None = None,
        max_length_k: int | None = None,
        seq_idx: torch.Tensor | None = None,
        output_penalty: bool = False,
        **kwargs: Any,
    ) -> EgruModelOutput | tuple[Any, ...]:
        r"""
        attention_mask (`torch.Tensor` of shape `(batch, past + time)`): 0 marks padding,
            anywhere in a row. Padding does not change the state, and its output is zero.
        output_events (`bool`): also return the events of each layer, with surrogate gradient.
        output_cells (`bool`): also return the cells c of each layer, before the reset.
        output_traces (`bool`): also return `event_trace` of the outputs of each layer; it begins
            at zero in each call.
        output_penalty (`bool`): also return the sum of the penalties that the configuration weighs.
        cache (`Cache`): the name of `past_key_values` from transformers 5.24 on.
        use_cache (`bool`): whether to update the cache. None updates one that is passed, and makes
            one if `config.use_cache`.
        position_ids, cu_seq_lens_q, cu_seq_lens_k, max_length_q, max_length_k, seq_idx: several
            texts packed end to end in a batch of one, as DataCollatorWithFlattening makes them.
            Each starts from an empty state, or with a cache and cu_seq_lens_q from its own: the
            cache has a row for each text.
        """
        refuse_unknown(self.forward, kwargs)
        config = settings_of(self.config)
        output_hidden_states = (
            config.output_hidden_states if output_hidden_states is None else output_hidden_states
        )
        past_key_values = cache if past_key_values is None else past_key_values
        batch, steps = batch_and_steps(input_ids, inputs_embeds)
        texts = packed_texts(
            batch, steps, attention_mask, bool(use_cache) or past_key_values is not None,
            position_ids, cu_seq_lens_q, cu_seq_lens_k, max_length_q, max_length_k, seq_idx,
        )  # fmt: skip
        if use_cache is None:
            wants_new = config.use_cache and texts is None
            use_cache = (past_key_values is not None or wants_new) and not is_recorded()
        x = self._embed(input_ids, inputs_embeds)
        if use_cache and past_key_values is None:
            past_key_values = new_cache(self.config, len(self.layers))
        layout = layout_of(attention_mask, batch, steps, texts)
        x = layout.pack(x)
        if self.training and config.embedding_dropout:
            x = locked_dropout(x, config.embedding_dropout, layout.cu_seqlens)

        rows = batch if texts is None else texts.shape[0] - 1
        cache_of = cache_layers(past_key_values, config.layer_types, rows)
        read = steps
        if use_cache:
            check_update(config.carry, cache_of[0], layout)
            read = longest_of(texts, steps)
        hidden: tuple[torch.Tensor, ...] = (x,)
        record = LayerRecord(
            config, layout, output_events, output_cells, output_traces, output_penalty
        )
        for index, layer in enumerate(self.layers):
            if index and self.training and config.hidden_dropout:
                x = locked_dropout(x, config.hidden_dropout, layout.cu_seqlens)
            x, extra = run_layer(
                layer, x, cache_of[index], use_cache, layout, (batch, read), record.wanted
            )
            hidden += (x,)
            record.add(layer, x, extra)
        hidden = tuple(layout.unpack(h) for h in hidden)
        output = make_output(
            EgruModelOutput,
            last_hidden_state=hidden[-1],
            hidden_states=hidden if output_hidden_states else None,
            **{CACHE: past_key_values if use_cache else None},
            **record.outputs(),
        )
        return output if wants_dict(return_dict, config) else output.to_tuple()


FORWARD[EgruModel] = EgruModel.forward


class EgruForCausalLM(EgruPreTrainedModel, GenerationMixin):
    """EGRU language model. generate(), Trainer, pipeline and push_to_hub work as usual."""

    _is_stateful = False  # generate() may take tokens back: the cache records states if asked
    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "model.embed_tokens.weight"}
    model_class: ClassVar[type[EgruModel]] = EgruModel

    def __init__(self, config: EgruConfig):
        super().__init__(config)
        if not config.vocab_size:
            raise ValueError("vocab_size must be at least 1 for a language model, got 0")
        self.model = self.model_class(config)
        self.projection = None
        if config.hidden_size != config.embedding_size:
            self.projection = nn.Linear(config.hidden_size, config.embedding_size)
        self.lm_head = EgruDecoder(config.embedding_size, config.vocab_size)
        self._token_step = TokenStep()
        self.post_init()

    @staticmethod
    def create_masks_for_generate(*, attention_mask: Any, **kwargs: Any) -> Any:
        """generate() asks for the mask of a compiled call: the one that it got, (B, past + T)."""
        return attention_mask

    def _prepare_position_ids_for_generation(self, *args: Any, **kwargs: Any) -> None:
        """None: EGRU has no positions, and generate() would append one to them at each token."""

    def init_continuous_batching(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse it: its cache is made of pages of tokens.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "continuous batching (generate_batch, cache_implementation='paged') needs a cache of "
            "tokens; the state of EGRU has a fixed size: call generate() with a batch of prompts"
        )

    def _get_stopping_criteria(
        self, generation_config: Any, stopping_criteria: Any, tokenizer: Any = None
    ) -> Any:
        if generation_config.stop_strings is not None:
            tokenizer = probed(tokenizer)
        return super()._get_stopping_criteria(generation_config, stopping_criteria, tokenizer)

    def _get_static_cache_init_shape(self) -> None:
        """For chunked prompts: a state has no heads that transformers could allocate."""

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        if type(new_embeddings) is nn.Linear:  # after resizing the vocabulary
            size = new_embeddings.in_features, new_embeddings.out_features
            decoder = EgruDecoder(*size, device="meta")
            decoder.weight, decoder.bias = new_embeddings.weight, new_embeddings.bias
            # transformers' mark that post_init() must not draw the weights again
            decoder._is_hf_initialized = getattr(new_embeddings, "_is_hf_initialized", False)
            new_embeddings = decoder
        self.lm_head = new_embeddings

    def train(self, mode: bool = True) -> EgruForCausalLM:
        self._token_step.forget()
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._token_step.forget()  # it would keep weights alive that are moved elsewhere
        return super()._apply(*args, **kwargs)

    def _one_token(
        self,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        position_ids: torch.Tensor | None,
        cache: Cache | None,
        use_cache: bool | None,
        return_dict: bool | None,
        logits_to_keep: int | torch.Tensor,
    ) -> EgruCausalLMOutput | tuple[Any, ...] | None:
        """The output after one more token, or None if the modules must be called one by one."""
        if input_ids is None or input_ids.ndim != 2:
            return None
        if input_ids.shape[1] != 1:
            self._token_step.forget_changed_copies(self.lm_head)
            return None
        if cache is None or type(logits_to_keep) is not int or logits_to_keep < 0:
            return None
        update = use_cache is None or use_cache
        logits = self._token_step.run(self, input_ids, attention_mask, position_ids, cache, update)
        if logits is None:
            return None
        output = make_output(
            EgruCausalLMOutput, logits=logits, **{CACHE: cache if update else None}
        )
        return output if wants_dict(return_dict, self.config) else output.to_tuple()

    def _logits(self, y: torch.Tensor) -> torch.Tensor:
        head = self.lm_head
        if self.projection is not None:
            return head(self.projection(y))
        # A quantised linear layer in its place takes only y; one of peft hands on what it gets.
        if isinstance(getattr(head, "base_layer", head), EgruDecoder):
            return head(y, settings_of(self.config).event_driven)
        return head(y)

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_events: bool = False,
        output_cells: bool = False,
        output_traces: bool = False,
        return_dict: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        skip_logits: bool = False,
        cache: Cache | None = None,
        position_ids: torch.LongTensor | None = None,
        cu_seq_lens_q: torch.Tensor | None = None,
        cu_seq_lens_k: torch.Tensor | None = None,
        max_length_q: int | None = None,
        max_length_k: int | None = None,
        seq_idx: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> EgruCausalLMOutput | tuple[Any, ...]:
        r"""
        labels (`torch.LongTensor` of shape `(batch, time)`): shifted inside, -100 is ignored.
        skip_logits (`bool`): compute the loss a block of rows at a time and return no logits,
            which is faster and takes less memory in training. If an adapter replaces the decoder,
            only the result is the same.
        Other arguments are those of EgruModel. The first token of a packed text is not a target.
        """
        past_key_values = cache if past_key_values is None else past_key_values
        plain = (
            inputs_embeds is None and labels is None and not output_events
            and not output_cells and not output_traces and not output_hidden_states
            and seq_idx is None and cu_seq_lens_q is None
            and cu_seq_lens_k is None and max_length_q is None and max_length_k is None
        )  # fmt: skip
        if plain and kwargs.keys() <= OF_GENERATE and not torch.compiler.is_compiling():
            output = self._one_token(
                input_ids, attention_mask, position_ids, past_key_values, use_cache, return_dict,
                logits_to_keep,
            )  # fmt: skip
            if output is not None:
                return output
        refuse_unknown(self.forward, kwargs, LOSS_ARGUMENTS)
        texts = packed_texts(
            *batch_and_steps(input_ids, inputs_embeds), attention_mask,
            bool(use_cache) or past_key_values is not None, position_ids, cu_seq_lens_q,
            cu_seq_lens_k, max_length_q, max_length_k, seq_idx,
        )  # fmt: skip
        if texts is not None and labels is not None:
            labels = without_first(labels, texts, kwargs.get("ignore_index", -100))
        penalised = self.training and labels is not None and has_penalty(self.config)
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_events=output_events,
            output_cells=output_cells,
            output_traces=output_traces,
            output_penalty=penalised,
            return_dict=True,
            cu_seq_lens_q=texts,
        )
        y = outputs.last_hidden_state
        if self.training and self.config.output_dropout:
            y = locked_dropout(y, self.config.output_dropout, texts)
        loss = logits = None
        head = self.lm_head
        # A layer of peft in its place has more weights than these; a compressed one has no tensor.
        plain = isinstance(head, EgruDecoder) and isinstance(head.weight, torch.Tensor)
        if skip_logits and labels is not None and plain:
            y = y if self.projection is None else self.projection(y)
            loss = chunked_cross_entropy(y, head.weight, head.bias, labels, **kwargs)
        else:
            keep = (
                slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
            )
            logits = self._logits(y[:, keep])
            if labels is not None:
                loss = self.loss_function(
                    logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs
                )
                logits = None if skip_logits else logits
        if penalised:
            loss = loss + outputs.penalty * share_of_batch(labels, **kwargs)
        output = make_output(
            EgruCausalLMOutput,
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            activity=outputs.activity,
            events=outputs.events,
            cells=outputs.cells,
            traces=outputs.traces,
            **{CACHE: getattr(outputs, CACHE)},
        )
        return output if wants_dict(return_dict, self.config) else output.to_tuple()


__all__ = [
    "EgruCacheLayer",
    "EgruForCausalLM",
    "EgruModel",
    "EgruPreTrainedModel",
    "EgruStaticCacheLayer",
]
