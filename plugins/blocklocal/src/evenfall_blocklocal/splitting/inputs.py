"""The arguments of a small call: given, stated by a splitter, or read from the host's config."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from evenfall.splitters import splitter_for

Call = tuple[tuple[Any, ...], dict[str, Any]]

_SAMPLES, _TOKENS = 2, 8


def example_call(model: nn.Module, inputs: Any = None) -> Call:
    """(positional, keyword) arguments of a call of `model`, on the device of its parameters.

    Args:
        model: the model.
        inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments; None to
            make them, for timm and transformers models and those with a registered splitter.

    Raises:
        ValueError: inputs is None and the model is of no known kind.
        TypeError: inputs is of another type.
    """
    return move_call(model, _make(model) if inputs is None else as_call(inputs))


def move_call(model: nn.Module, call: Call, kind: torch.dtype | None = None) -> Call:
    """The arguments of a call on the device of the model's parameters: it may have moved since.

    Args:
        model: the model.
        call: its arguments.
        kind: type of the parameters when the arguments were made; numbers of this type get the one
            that the parameters have now.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    now = float_type(model)

    def move(tensor: Tensor) -> Tensor:
        return tensor.to(device, now if tensor.dtype == kind else None)

    moved = torch.utils._pytree.tree_map_only(Tensor, move, call)
    return moved[0], moved[1]


def base_model(model: nn.Module) -> Any:
    """The model inside of peft's adapters, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def as_call(inputs: Any) -> Call:
    """The arguments of a call: a tensor is the only one, a tuple or list has positional ones, a
    mapping those by name.

    Raises:
        TypeError: inputs is of another type.
    """
    if isinstance(inputs, Tensor):
        return (inputs,), {}
    if isinstance(inputs, tuple | list):
        return tuple(inputs), {}
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    raise TypeError(f"inputs must be a tensor, a tuple or a mapping, got {type(inputs).__name__}")


def named_arguments(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The arguments of a call by name, as the signature of `forward` names them."""
    try:
        bound = inspect.signature(model.forward).bind(*args, **kwargs)
    except TypeError:  # the call itself explains what is wrong
        return dict(kwargs)
    values = dict(bound.arguments)
    for name, parameter in inspect.signature(model.forward).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            values.update(values.pop(name, {}))
    return values


def _make(model: nn.Module) -> Call:
    splitter = splitter_for(model)
    if splitter is not None and splitter.example_inputs is not None:
        return splitter.example_inputs(model)
    if "transformers" in sys.modules:
        from transformers import PreTrainedModel

        base = base_model(model)
        if isinstance(base, PreTrainedModel):
            return (), _for_transformers(base)
    size = _timm_size(model)
    if size is not None:
        return (torch.randn(_SAMPLES, *size).to(float_type(model)),), {}
    raise ValueError(
        f"inputs are needed to split a {type(model).__name__}: pass inputs=, a tensor, a tuple of "
        "positional arguments or a dict of keyword arguments of a small batch"
    )


def float_type(model: nn.Module) -> torch.dtype:
    """The type of the first parameter of real numbers."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def _timm_size(model: nn.Module) -> tuple[int, ...] | None:
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    size = config.get("input_size") if isinstance(config, dict) else None
    if size is None:
        return None
    embedding: Any = getattr(
        model, "patch_embed", None
    )  # it knows an img_size given to create_model
    if getattr(embedding, "img_size", None) is not None:
        size = (size[0], *embedding.img_size)
    first = config.get("first_conv") if isinstance(config, dict) else None
    named = dict(model.named_modules()).get(first) if isinstance(first, str) else None
    channels = getattr(named, "in_channels", size[0])
    if channels in (4 * size[0], 16 * size[0]):  # squares of pixels are channels, as in TResNet
        channels = size[0]
    return (channels, *size[1:])


def _for_transformers(model: Any) -> dict[str, Any]:
    accepted = inspect.signature(model.forward).parameters
    config = model.config
    if model.main_input_name == "pixel_values":
        edge = getattr(config, "image_size", 224)
        height, width = edge if isinstance(edge, tuple | list) else (edge, edge)
        shape = (_SAMPLES, getattr(config, "num_channels", 3), height, width)
        call: dict[str, Any] = {"pixel_values": torch.randn(shape).to(float_type(model))}
    elif getattr(config, "is_encoder_decoder", False) or "input_ids" not in accepted:
        raise ValueError(
            f"inputs are needed to split a {type(model).__name__}: pass inputs=, a dict of the "
            "keyword arguments of a small batch"
        )
    else:
        vocabulary = model.get_input_embeddings().weight.shape[0]
        call = {"input_ids": torch.randint(vocabulary, (_SAMPLES, _TOKENS))}
    if "use_cache" in accepted:
        call["use_cache"] = False
    return call
