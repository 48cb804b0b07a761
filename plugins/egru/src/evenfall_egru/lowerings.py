"""Lowerings of the EGRU models to `evenfall.graph`, for exporters.

The graph computes what the model computes in evaluation. Weights set to zero by pruning are zeros.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from evenfall.class_lookup import class_of
from evenfall.errors import LoweringError, shorten
from evenfall.lowering import GraphBuilder, Lowering

if TYPE_CHECKING:
    from .models.classification_egru import EgruForSequenceClassification
    from .models.modeling_egru import EgruForCausalLM, EgruModel


def _array(weight: Any, transposed: bool = False) -> Any:
    """The values as float32, which holds bfloat16 and float16 exactly; float64 stays.

    `transposed` says that a StoredMatrix, if it is one, has other axes than the parameter had.
    """
    if not isinstance(weight, torch.Tensor):
        weight = weight.dense().t() if transposed else weight.dense()
    tensor = weight.detach().cpu().contiguous()
    return (tensor if tensor.dtype == torch.float64 else tensor.float()).numpy()


def _lower_model(model: EgruModel, builder: GraphBuilder) -> None:
    """Embedding and layers, without a readout."""
    from evenfall.graph import Egru, Embedding, Input

    from .models.layer_egru import EgruLayer
    from .quantization import StoredEmbedding

    for index, layer in enumerate(model.layers):
        _want_class(f"layers.{index}", layer, EgruLayer)
    config = model.config
    if config.variant != "released":
        raise LoweringError(
            f"EGRU: variant {shorten(config.variant)} multiplies r and y before the product, so "
            "units would have to exchange values twice in a step; only variant 'released' can be "
            "exported"
        )
    if config.carry != "full":
        raise LoweringError(
            f"EGRU: carry {shorten(config.carry)} resets h at each call, and an exported network "
            "has no calls; set config.carry = 'full'"
        )
    if model.embed_tokens is None or config.vocab_size == 1:
        builder.add("inputs_embeds", Input((config.embedding_size,), "values"))
    else:
        _want_class("embed_tokens", model.embed_tokens, StoredEmbedding, torch.nn.Embedding)
        builder.add("input_ids", Input((config.vocab_size,), "tokens"))
        builder.add("embed_tokens", Embedding(_array(model.embed_tokens.weight, True)))
    for index, layer in enumerate(model.layers):
        builder.add(
            f"layers.{index}",
            Egru(
                _array(layer.kernel),
                _array(layer.recurrent_kernel),
                _array(layer.bias),
                _array(layer.recurrent_bias),
                _array(layer.threshold.clamp(0, 1)),
                float(config.zoneout),
            ),
        )


def _lower_base(model: EgruModel, builder: GraphBuilder) -> None:
    from evenfall.graph import Readout

    _lower_model(model, builder)
    builder.add("last_hidden_state", Readout())
    _note_source(model, builder)


def _lower_causal(model: EgruForCausalLM, builder: GraphBuilder) -> None:
    from evenfall.graph import Readout

    with builder.inside("model"):
        _lower_model(model.model, builder)
    for name in ("projection", "lm_head"):
        if getattr(model, name) is not None:
            _add_linear(builder, name, getattr(model, name))
    builder.add("logits", Readout())
    _note_source(model, builder)


def _lower_classifier(model: EgruForSequenceClassification, builder: GraphBuilder) -> None:
    from evenfall.graph import Readout

    with builder.inside("model"):
        _lower_model(model.model, builder)
    _add_linear(builder, "score", model.score)
    names = model.config.id2label
    labels = tuple(str(names[index]) for index in range(model.config.num_labels))
    builder.add("logits", Readout("last", labels))
    _note_source(model, builder)


def _add_linear(builder: GraphBuilder, name: str, module: torch.nn.Module) -> None:
    from evenfall.graph import Dense

    from .models.layer_egru import EgruDecoder

    _want_class(name, module, torch.nn.Linear, EgruDecoder)
    bias = None if module.bias is None else _array(module.bias)
    builder.add(name, Dense(_array(module.weight, True), bias))


def _want_class(name: str, module: torch.nn.Module, *kinds: type) -> None:
    """Refuse an adapter or another replacement, which may compute something else."""
    kind = class_of(module)
    if kind not in kinds:
        want = " or ".join(one.__name__ for one in kinds)
        raise LoweringError(f"EGRU: {name} is a {kind.__qualname__}, want {want}")


def _note_source(model: Any, builder: GraphBuilder) -> None:
    """The name of the checkpoint and the folder with its tokenizer."""
    source = str(getattr(model.config, "_name_or_path", "") or "")
    builder.metadata["name"] = Path(source).name if source else type(model).__name__
    end = model.config.eos_token_id
    builder.metadata["end_tokens"] = [] if end is None else [end] if isinstance(end, int) else end


EGRU_MODEL = Lowering(_lower_base)
EGRU_CAUSAL_LM = Lowering(_lower_causal)
EGRU_CLASSIFIER = Lowering(_lower_classifier)
