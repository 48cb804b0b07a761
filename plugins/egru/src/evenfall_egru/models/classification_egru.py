"""EGRU as a classifier of texts and of their tokens, for transformers.

Dimensions: B batch, T time, H units of the last layer, S packed texts, C classes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.cache_utils import Cache
from transformers.utils import logging

from .arguments_egru import batch_and_steps, refuse_unknown
from .configuration_egru import EgruConfig
from .fast_egru import make_output
from .layer_egru import locked_dropout
from .loss_egru import share_of_batch
from .modeling_egru import EgruModel
from .packing_egru import packed_texts
from .padding_egru import mask_of_ids, real_tokens
from .pretrained_egru import (
    CACHE,
    EgruClassifierOutput,
    EgruPreTrainedModel,
    EgruTokenClassifierOutput,
    wants_dict,
)
from .record_egru import has_penalty
from .recording_egru import is_in_graph

logger = logging.get_logger(__name__)

_LOSS = frozenset({"num_items_in_batch"})


class _Classifier(EgruPreTrainedModel):
    """A linear head, without bias, on the outputs of the last layer."""

    def __init__(self, config: EgruConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = EgruModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()

    def _read(
        self, input_ids: torch.Tensor | None, attention_mask: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None, past_key_values: Cache | None, use_cache: bool | None,
        output_hidden_states: bool | None, wanted: dict[str, bool], packing: tuple[Any, ...],
    ) -> tuple[Any, torch.Tensor | None, torch.Tensor | None]:  # fmt: skip
        """The outputs of the model, the mask of padding, and the bounds of packed texts."""
        texts = packed_texts(
            *batch_and_steps(input_ids, inputs_embeds), attention_mask,
            bool(use_cache) or past_key_values is not None, *packing,
        )  # fmt: skip
        attention_mask = self._mask(input_ids, inputs_embeds, attention_mask, texts)
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            **wanted,
            return_dict=True,
            cu_seq_lens_q=texts,
        )
        return outputs, attention_mask, texts

    def _mask(
        self,
        input_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        texts: torch.Tensor | None,
    ) -> torch.Tensor | None:
        """The given mask, or one that excludes `config.pad_token_id` at the ends of a row."""
        pad = self.config.pad_token_id
        if attention_mask is not None or texts is not None or pad is None:
            return attention_mask
        if input_ids is not None:
            return mask_of_ids(input_ids, pad)
        if inputs_embeds is not None and len(inputs_embeds) > 1:
            logger.warning_once(
                f"{type(self).__name__} cannot find padding in inputs_embeds; "
                "pass attention_mask if there is any"
            )
        return None

    def _wanted(
        self, labels: torch.Tensor | None, events: bool, cells: bool, traces: bool
    ) -> dict[str, bool]:
        """What the model shall return besides its output."""
        penalty = self.training and labels is not None and has_penalty(self.config)
        return {
            "output_events": events, "output_cells": cells, "output_traces": traces,
            "output_penalty": penalty,
        }  # fmt: skip


class EgruForSequenceClassification(_Classifier):
    """EGRU with a linear head on the output of the last real token of each text."""

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: torch.Tensor | None = None,
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
        **kwargs: Any,
    ) -> EgruClassifierOutput | tuple[Any, ...]:
        r"""
        attention_mask (`torch.Tensor` of shape `(batch, past + time)`): 0 marks padding. Without a
            mask, `config.pad_token_id` at the start and the end of a row is padding.
        past_key_values (`Cache`): to continue texts. One that has no token in a call, since it has
            ended, has the logits of its last token.
        labels (`torch.Tensor` of shape `(batch,)`): classes, or values for regression.
        Other arguments are those of EgruModel. Each packed text gives one row of logits.
        """
        refuse_unknown(self.forward, kwargs, _LOSS)
        batch, steps = batch_and_steps(input_ids, inputs_embeds)
        if batch and not steps:
            raise ValueError(
                f"each text must have at least one token to classify, got shape ({batch}, 0)"
            )
        config = self.config
        wanted = self._wanted(labels, output_events, output_cells, output_traces)
        past_key_values = cache if past_key_values is None else past_key_values
        before = _last_before(past_key_values)
        outputs, attention_mask, texts = self._read(
            input_ids, attention_mask, inputs_embeds, past_key_values, use_cache,
            output_hidden_states, wanted,
            (position_ids, cu_seq_lens_q, cu_seq_lens_k, max_length_q, max_length_k, seq_idx),
        )  # fmt: skip
        last = _last(outputs.last_hidden_state, attention_mask, texts)
        if attention_mask is not None:
            has_text = real_tokens(attention_mask, batch, steps).any(1)
            if before is not None:
                last = torch.where(has_text[:, None], last, before.to(last.dtype))
            elif not is_in_graph():
                _check_texts(has_text)
        logits = self.score(F.dropout(last, config.output_dropout, self.training))
        loss = None
        if labels is not None:
            items = kwargs.get("num_items_in_batch")
            share = share_of_batch(labels, items, shift_labels=labels)
            loss = self.loss_function(
                labels=labels, pooled_logits=logits, config=config, logits=logits,
                num_items_in_batch=items,
            )  # fmt: skip
            if config.problem_type != "single_label_classification":
                # Only for single labels does transformers divide by num_items_in_batch.
                loss = loss * share
            if wanted["output_penalty"]:
                loss = loss + outputs.penalty * share
        output = make_output(
            EgruClassifierOutput,
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            activity=outputs.activity,
            events=outputs.events,
            cells=outputs.cells,
            traces=outputs.traces,
            **{CACHE: getattr(outputs, CACHE)},
        )
        return output if wants_dict(return_dict, config) else output.to_tuple()


class EgruForTokenClassification(_Classifier):
    """EGRU with a linear head on the output of each token, which has seen the tokens before it."""

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
        cache: Cache | None = None,
        position_ids: torch.LongTensor | None = None,
        cu_seq_lens_q: torch.Tensor | None = None,
        cu_seq_lens_k: torch.Tensor | None = None,
        max_length_q: int | None = None,
        max_length_k: int | None = None,
        seq_idx: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> EgruTokenClassifierOutput | tuple[Any, ...]:
        r"""
        attention_mask (`torch.Tensor` of shape `(batch, past + time)`): 0 marks padding. Without a
            mask, `config.pad_token_id` at the start and the end of a row is padding.
        labels (`torch.LongTensor` of shape `(batch, time)`): the class of each token; -100 is
            ignored, as are all labels of padding.
        Other arguments are those of EgruModel. To continue a text, pass a cache and
        `use_cache=True`, which updates it; the result does not contain it.
        """
        refuse_unknown(self.forward, kwargs, _LOSS)
        config = self.config
        wanted = self._wanted(labels, output_events, output_cells, output_traces)
        outputs, attention_mask, texts = self._read(
            input_ids, attention_mask, inputs_embeds,
            cache if past_key_values is None else past_key_values, use_cache,
            output_hidden_states, wanted,
            (position_ids, cu_seq_lens_q, cu_seq_lens_k, max_length_q, max_length_k, seq_idx),
        )  # fmt: skip
        y = outputs.last_hidden_state
        if self.training and config.output_dropout:
            y = locked_dropout(y, config.output_dropout, texts)
        logits = self.score(y)
        loss = None
        if labels is not None:
            if attention_mask is not None:
                real = attention_mask[:, attention_mask.shape[1] - y.shape[1] :] != 0
                labels = labels.masked_fill(~real.to(labels.device), -100)
            items = kwargs.get("num_items_in_batch")
            loss = self.loss_function(
                logits=logits, labels=labels, config=config, num_items_in_batch=items
            )
            if wanted["output_penalty"]:
                loss = loss + outputs.penalty * share_of_batch(labels, items, shift_labels=labels)
        output = make_output(
            EgruTokenClassifierOutput,
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            activity=outputs.activity,
            events=outputs.events,
            cells=outputs.cells,
            traces=outputs.traces,
        )
        return output if wants_dict(return_dict, config) else output.to_tuple()


def _last_before(cache: Cache | None) -> torch.Tensor | None:
    """The outputs of the last layer before the call, (B, H), for texts that have ended; None
    without a cache. A static cache would overwrite them."""
    layers = getattr(cache, "layers", None)
    if not layers or not hasattr(layers[-1], "state"):
        return None  # the model says what it must be
    state = layers[-1].state()
    return None if state is None else state[0].clone()


def _check_texts(has_text: torch.Tensor) -> None:
    """Raise ValueError unless each row has a real token; has_text is (B,)."""
    if not bool(has_text.all()):
        row = int(has_text.long().argmin())
        raise ValueError(
            "each text must have at least one token to classify, got an attention_mask with zeros "
            f"alone in row {row}"
        )


def _last(
    y: torch.Tensor,  # (B, T, H)
    attention_mask: torch.Tensor | None,
    texts: torch.Tensor | None,
) -> torch.Tensor:
    """The output at the last real token of each text, (B, H) or (S, H)."""
    if texts is not None:
        return y[0, texts[1:] - 1]
    if attention_mask is None:
        return y[:, -1] if y.shape[1] else y.sum(1)
    mask = attention_mask[:, attention_mask.shape[1] - y.shape[1] :]
    position = torch.arange(y.shape[1], device=y.device)
    end = torch.where(mask != 0, position, -1).amax(1).clamp_min(0)
    return y.gather(1, end[:, None, None].expand(-1, 1, y.shape[-1])).squeeze(1)


__all__ = ["EgruForSequenceClassification", "EgruForTokenClassification"]
