"""Operation counters of EGRU's modules, for `evenfall.counting`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch

from evenfall.counting import (
    Activity,
    Axis,
    Counter,
    Link,
    Matrix,
    Operations,
    Units,
    multiply,
    multiply_states,
)
from evenfall_kernels import egru_scan

from .backward import silent_in_backward

_KERNEL = Matrix("kernel", 0, gates=3)
_RECURRENT = Matrix("recurrent_kernel", 0, "recurrent", gates=3)
_DECODER = Matrix("weight", 1)


def _layer(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    """The input matrix reads x, the recurrent matrix the outputs of the previous step."""
    y, (last, _), _ = output
    state = inputs.get("state")
    read = multiply(inputs["x"], _KERNEL.of(module), 0)
    first = None if state is None else state[0]
    if inputs.get("want_states"):  # `last` has the state after each step
        first, last = _ends(y, first, inputs.get("cu_seqlens"))
    return read + multiply_states(y, first, last, _RECURRENT.of(module), 0)


def _ends(y: Any, first: Any, cu_seqlens: Any) -> tuple[Any, Any]:
    """The outputs before the first and after the last step of each text that has a step."""
    if cu_seqlens is None:
        cu_seqlens = torch.arange(len(y) + 1) * y.shape[1]
    has_steps = cu_seqlens.diff() > 0
    last = y.flatten(0, 1)[cu_seqlens[1:][has_steps] - 1]
    return None if first is None else first[has_steps], last


def _activity(module: Any, inputs: Mapping[str, Any], output: Any) -> Activity:
    """Silent: no event, and the cell so far from its threshold that the surrogate is 0 there."""
    config, state = module.config, inputs.get("state")
    if state is not None and config.carry == "output":
        state = (state[0], state[1].new_zeros(state[1].shape))
    threshold = module.threshold.clamp(0, 1)
    cells = egru_scan(
        inputs["x"], _KERNEL.of(module), _RECURRENT.of(module), module.bias, module.recurrent_bias,
        threshold, initial_state=state, zoneout=config.zoneout, support=config.support,
        dampening=config.dampening, variant=config.variant, return_cells=True,
        cu_seqlens=inputs.get("cu_seqlens"), event_driven=config.event_driven,
    ).cells  # fmt: skip
    silent = silent_in_backward(cells, threshold, config.support)
    y = output[0]
    return Activity(y.numel(), int((y == 0).sum()), int(silent.sum()))


def _units(module: Any) -> tuple[Units, ...]:
    gated = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")
    matrices = {"kernel", "recurrent_kernel"}
    axes = [Axis(name, int(name in matrices), 3) for name in gated]
    axes += [Axis("recurrent_kernel", 0), Axis("threshold", 0)]
    return Units((Axis("kernel", 0),), read=True), Units(tuple(axes), written=True)


EGRU_LAYER = Counter(
    lambda module: (_KERNEL, _RECURRENT),
    _layer,
    activity=_activity,
    compressible=True,
    units=_units,
)
"""EgruLayer: W (inputs, 3 units) and R (units, 3 units)."""


def _decoder(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    return multiply(inputs["y"], _DECODER.of(module), 1)


def _decoder_units(module: Any) -> tuple[Units, ...]:
    words = (Axis("weight", 0), Axis("bias", 0))
    return Units((Axis("weight", 1),), read=True), Units(words, written=True)


EGRU_DECODER = Counter(
    lambda module: (_DECODER,), _decoder, compressible=True, units=_decoder_units
)
"""EgruDecoder: W (vocabulary, embedding)."""


STORED_EMBEDDING = Counter(lambda module: (Matrix("weight", 1, "lookup"),))
"""StoredEmbedding: columns of W (embedding, vocabulary) are read; there are no operations."""


def _model_links(module: Any) -> tuple[Link, ...]:
    names = [_path(layer, index) for index, layer in enumerate(module.layers)]
    if module.embed_tokens is not None:
        names.insert(0, "embed_tokens")
    return tuple(Link(one, other) for one, other in pairwise(names))


def _path(layer: Any, index: int) -> str:
    """The name of the module with the layer's weights; a baseline has torch's inside its own."""
    return f"layers.{index}.rnn" if hasattr(layer, "rnn") else f"layers.{index}"


EGRU_MODEL = Counter(links=_model_links, methods=("forward", "_embed"))
"""EgruModel: the embedding and the layers, each read by the next."""


def _language_model_links(module: Any) -> tuple[Link, ...]:
    layers = module.model.layers
    last = f"model.{_path(layers[-1], len(layers) - 1)}"
    if module.projection is None:
        return (Link(last, "lm_head"),)
    return Link(last, "projection"), Link("projection", "lm_head")


EGRU_LANGUAGE_MODEL = Counter(links=_language_model_links, methods=("forward", "_logits"))
"""EgruForCausalLM: the decoder reads the last layer, or a projection of it."""
