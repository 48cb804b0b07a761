"""Put stored matrices into an EGRU model in place of its parameters, and back.

Dimensions: I inputs, H units of a layer, E embedding, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from evenfall.errors import closest, shorten
from evenfall_kernels import StoredMatrix

from ..models.layer_egru import EgruDecoder, EgruLayer
from ..models.pretrained_egru import in_memory
from .embedding import StoredEmbedding

Make = Callable[[torch.Tensor], StoredMatrix]
_KERNELS = ("kernel", "recurrent_kernel")


def find_modules(model: Any, entries: Sequence[str]) -> list[str]:
    """The full names of the modules with matrices that these entries of modules_to_not_convert
    name. An entry may name another module, which is left as it is anyway.

    Raises:
        ValueError: an entry names no module, or is no regular expression.
    """
    modules = [name for name, _ in model.named_modules() if name]
    kept: list[str] = []
    for entry in entries:
        found = [name for name in modules if _matches(entry, name)]
        if not found:
            raise ValueError(
                f"modules_to_not_convert: the model has no module {shorten(entry)}."
                f"{closest(entry, _with_matrices(model))}"
            )
        kept += found
    return [name for name in _with_matrices(model) if _is_in(name, kept)]


def _is_in(name: str, modules: Sequence[str]) -> bool:
    """Whether a module is one of these, or in one of these."""
    return any(name == one or name.startswith(f"{one}.") for one in modules)


def _matches(entry: str, name: str) -> bool:
    """As `should_convert_module` of transformers 5.24; it differs between versions."""
    try:
        start = re.match(rf"(?:{entry})(?:(?<=\.)|(?=\.|$))", name)
    except re.error as error:
        raise ValueError(
            f"modules_to_not_convert: {shorten(entry)} is not a regular expression: {error}"
        ) from None
    return bool(entry) and (start is not None or name.endswith(entry))


def _with_matrices(model: Any) -> list[str]:
    """The full names of the modules that `put_matrices` changes."""
    base = model.base_model
    own = {id(module) for module in (*base.layers, base.embed_tokens)}
    own.add(id(getattr(model, "lm_head", None)))
    return [name for name, module in model.named_modules() if id(module) in own]


def put_matrices(model: Any, skipped: list[str], make: Make) -> None:
    """Replace the parameters of an EGRU model, in place.

    Args:
        model: an EgruModel or a model with one inside.
        skipped: names of modules that are left as they are, those of an EgruForCausalLM.
        make: makes the stored matrix of a weight with inputs first: (I, 3H) or (E, V).

    Raises:
        ValueError: the model has other layers, or a weight is not a parameter of its own.
    """
    _check(model)
    for index, layer in enumerate(model.base_model.layers):
        if _is_named(f"layers.{index}", skipped):
            continue
        with in_memory(layer):
            made = {parameter: make(layer._parameters[parameter]) for parameter in _KERNELS}
        for parameter, stored in made.items():
            delattr(layer, parameter)
            setattr(layer, parameter, stored)
    _put_words(model, skipped, make)
    model.eval()


def _put_words(model: Any, skipped: list[str], make: Make) -> None:
    """The embedding and the decoder, which share a matrix if they are tied."""
    base, decoder = model.base_model, getattr(model, "lm_head", None)
    tied = decoder is not None and _is_tied(model)
    keep_words, keep_decoder = (_is_named(name, skipped) for name in ("embed_tokens", "lm_head"))
    if model.config.tie_word_embeddings:  # also where a file has more than this model
        keep_words = keep_decoder = keep_words or keep_decoder
    embedding, words = base.embed_tokens, None
    if embedding is not None and not keep_words:
        with in_memory(embedding):
            words = make(embedding.weight.t())
        base.embed_tokens = StoredEmbedding(words, embedding.padding_idx)
        _copy_hook(embedding, base.embed_tokens)
    if decoder is None or keep_decoder:
        return
    if not tied:
        with in_memory(decoder):
            words = make(decoder.weight.t())
    del decoder.weight
    if tied:
        # Not as a module, so that a file has one copy, and moving the model moves it once.
        decoder.__dict__["weight"] = words
        model._tied_weights_keys, model.all_tied_weights_keys = None, {}
    else:
        decoder.weight = words


def _copy_hook(old: nn.Module, new: nn.Module) -> None:
    """Let accelerate move the inputs of `new` to where it moved those of `old`."""
    device = getattr(getattr(old, "_hf_hook", None), "execution_device", None)
    if device is not None:
        from accelerate.hooks import AlignDevicesHook, add_hook_to_module

        add_hook_to_module(new, AlignDevicesHook(device))


def _is_named(name: str, skipped: list[str]) -> bool:
    """Whether a module of an EgruModel, or lm_head, or a module that it is in, is among these."""
    short = [one.removeprefix("model.") for one in skipped]
    return ("model" in short and name != "lm_head") or _is_in(name, short)


def _is_tied(model: Any) -> bool:
    """Whether both have one weight; also on the meta device, before transformers ties them, and
    where accelerate keeps it on disk."""
    if not model.all_tied_weights_keys:
        return False
    embedding, decoder = model.base_model.embed_tokens.weight, model.lm_head.weight
    if embedding is decoder or embedding.is_meta or decoder.is_meta:
        return True
    model.config.tie_word_embeddings, model.all_tied_weights_keys = False, {}
    return False


def _check(model: Any) -> None:
    names = {id(module): name for name, module in model.named_modules()}
    base, decoder = model.base_model, getattr(model, "lm_head", None)
    kinds: list[tuple[Any, Any, tuple[str, ...]]] = [
        (layer, EgruLayer, _KERNELS) for layer in base.layers
    ]
    if base.embed_tokens is not None:
        kinds.append((base.embed_tokens, nn.Embedding, ("weight",)))
    if decoder is not None:
        kinds.append((decoder, EgruDecoder, ("weight",)))
    for module, kind, parameters in kinds:
        name = names[id(module)]
        if type(module) is not kind:
            raise ValueError(
                f"{name} must be {kind.__name__}, got {type(module).__name__}; an adapter must be "
                "merged first"
            )
        for parameter in parameters:
            weight = module._parameters.get(parameter)
            if weight is None:
                found = getattr(module, parameter)
                reason = (
                    "is stored already"
                    if isinstance(found, StoredMatrix)
                    else "is computed from other parameters; make pruning permanent first"
                )
                raise ValueError(f"{name}.{parameter} {reason}")
            if type(weight) is not nn.Parameter or not weight.is_floating_point():
                raise ValueError(f"{name}.{parameter} is quantised by another library")


def list_matrices(model: Any) -> dict[str, StoredMatrix]:
    """The stored matrices of a model, by name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, StoredMatrix)}


def put_parameters(model: Any, dtype: torch.dtype) -> None:
    """Undo `put_matrices`: parameters again, with the values of the stored matrices.

    Raises:
        ValueError: accelerate keeps some parameters of the model elsewhere.
    """
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError(
            "dequantize: parts of the model are offloaded; load it without a device_map that has "
            "'disk' or 'cpu' parts"
        )
    base, decoder = model.base_model, getattr(model, "lm_head", None)

    def dense(stored: StoredMatrix, transposed: bool = False) -> nn.Parameter:
        weight = stored.dense().to(dtype)
        return nn.Parameter(weight.t().contiguous() if transposed else weight.clone())

    for layer in base.layers:
        for parameter in _KERNELS:
            stored = getattr(layer, parameter)
            if isinstance(stored, StoredMatrix):
                delattr(layer, parameter)
                setattr(layer, parameter, dense(stored))
    words = base.embed_tokens
    if isinstance(words, StoredEmbedding):
        embedding = nn.Embedding(
            words.num_embeddings, words.embedding_dim, words.padding_idx, device="meta"
        )
        embedding.weight = dense(words.weight, transposed=True)
        base.embed_tokens = embedding
    if decoder is None or not isinstance(decoder.weight, StoredMatrix):
        return
    if "weight" in decoder.__dict__:
        del decoder.__dict__["weight"]
        decoder.weight = base.embed_tokens.weight
        del model._tied_weights_keys  # that of its class again
        model.all_tied_weights_keys = model.get_expanded_tied_weights_keys(all_submodels=True)
    else:
        stored = decoder.weight
        del decoder.weight
        decoder.weight = dense(stored, transposed=True)


__all__ = ["find_modules", "list_matrices", "put_matrices", "put_parameters"]
