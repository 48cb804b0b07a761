"""Shared by the EGRU models: outputs, initial weights, and loading with clear errors."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn.utils.parametrize import is_parametrized
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    SequenceClassifierOutputWithPast,
    TokenClassifierOutput,
)
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from .configuration_egru import EgruConfig, short
from .fast_egru import settings_of
from .layer_egru import EgruLayer

# The name of the cache in transformers' outputs; from 5.24 on, the old one is deprecated.
CACHE = "cache" if "cache" in BaseModelOutputWithPast.__dataclass_fields__ else "past_key_values"


@dataclass
class EgruModelOutput(BaseModelOutputWithPast):
    """Adds `activity`, the mean event rate of each layer; and, of each unit, `events`, 0 or 1,
    `cells`, the state before the reset, and `traces`, slow averages of the outputs.

    `penalty` is what the configuration adds to a training loss."""

    activity: tuple[torch.Tensor, ...] | None = None
    events: tuple[torch.Tensor, ...] | None = None
    cells: tuple[torch.Tensor, ...] | None = None
    traces: tuple[torch.Tensor, ...] | None = None
    penalty: torch.Tensor | None = None


@dataclass
class EgruCausalLMOutput(CausalLMOutputWithPast):
    """Adds `activity`, the mean event rate of each layer; and, of each unit, `events`, 0 or 1,
    `cells`, the state before the reset, and `traces`, slow averages of the outputs."""

    activity: tuple[torch.Tensor, ...] | None = None
    events: tuple[torch.Tensor, ...] | None = None
    cells: tuple[torch.Tensor, ...] | None = None
    traces: tuple[torch.Tensor, ...] | None = None


@dataclass
class EgruClassifierOutput(SequenceClassifierOutputWithPast):
    """Adds `activity`, the mean event rate of each layer; and, of each unit, `events`, 0 or 1,
    `cells`, the state before the reset, and `traces`, slow averages of the outputs."""

    activity: tuple[torch.Tensor, ...] | None = None
    events: tuple[torch.Tensor, ...] | None = None
    cells: tuple[torch.Tensor, ...] | None = None
    traces: tuple[torch.Tensor, ...] | None = None


@dataclass
class EgruTokenClassifierOutput(TokenClassifierOutput):
    """Adds `activity`, the mean event rate of each layer; and, of each unit, `events`, 0 or 1,
    `cells`, the state before the reset, and `traces`, slow averages of the outputs."""

    activity: tuple[torch.Tensor, ...] | None = None
    events: tuple[torch.Tensor, ...] | None = None
    cells: tuple[torch.Tensor, ...] | None = None
    traces: tuple[torch.Tensor, ...] | None = None


_METHODS = ("evenfall", "evenfall-egru")  # quantisation that knows EGRU layers


class MismatchedShapesError(RuntimeError, ValueError):
    """Weights in a file have other shapes than the model; transformers raises RuntimeError."""


def wants_dict(return_dict: bool | None, config: EgruConfig) -> bool:
    """Whether forward returns its output class instead of a tuple."""
    return settings_of(config).return_dict if return_dict is None else return_dict


class EgruPreTrainedModel(PreTrainedModel):
    config_class = EgruConfig
    config: EgruConfig
    base_model_prefix = "model"
    _no_split_modules: ClassVar[list[str]] = ["EgruLayer"]
    _is_stateful = True
    supports_gradient_checkpointing = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, EgruLayer):
            gain = self.config.input_gain if module.index == 0 else 1.0
            init.xavier_normal_(module.kernel, gain=gain)
            init.xavier_normal_(module.recurrent_kernel)
            init.zeros_(module.recurrent_bias)
            init.copy_(module.bias, _biases(module.bias, self.config.chrono_init))
            init.copy_(module.threshold, _thresholds(module.threshold, self.config.threshold_mean))
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=self.config.embedding_range)
        elif isinstance(module, nn.Linear):
            init.xavier_normal_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)

    def _set_gradient_checkpointing(self, *args: Any, **kwargs: Any) -> None:
        if "gradient_checkpointing_func" in kwargs:
            checkpoint = kwargs["gradient_checkpointing_func"]
            kwargs["gradient_checkpointing_func"] = partial(_checkpoint_plain, checkpoint)
        super()._set_gradient_checkpointing(*args, **kwargs)

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> Any:
        """As in transformers.

        Raises:
            ValueError: the model is quantised or compressed.
        """
        if getattr(self.config, "quantization_config", None) is not None:
            raise ValueError(
                "the words of a quantised or compressed model cannot be changed; call dequantize() "
                "first"
            )
        return super().resize_token_embeddings(*args, **kwargs)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: Any,
        *args: Any,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Any:
        """As in transformers, but with errors that name the fault.

        Raises:
            ValueError: the weights cannot be read, contain NaN or infinity, or the quantisation is
                one that is not loaded or that does not know EGRU layers.
            MismatchedShapesError: shapes differ from the configuration; it is a RuntimeError, as in
                transformers, and a ValueError.
        """
        name = pretrained_model_name_or_path
        options = {"ignore_mismatched_sizes": True, "output_loading_info": True}
        _check_method(kwargs.get("quantization_config"))
        try:
            model, info = super().from_pretrained(name, *args, **options, **kwargs)
        except SafetensorError as error:
            raise ValueError(
                f"checkpoint {name}: the weights cannot be read, a file is damaged or incomplete: "
                f"{error}"
            ) from error
        if info["mismatched_keys"] and not ignore_mismatched_sizes:
            sizes = [f"{n}: {tuple(a)} in the file, {tuple(b)} in the configuration"
                     for n, a, b in sorted(info["mismatched_keys"])]  # fmt: skip
            raise MismatchedShapesError(
                f"checkpoint {name}: shape mismatch in {sizes}; ignore_mismatched_sizes=True "
                "leaves these at random initialisation"
            )
        _check_quantised(name, model)
        if bad := not_finite(model):
            raise ValueError(f"checkpoint {name} contains values that are not finite, in {bad}")
        return (model, info) if output_loading_info else model


def _biases(like: torch.Tensor, longest: int | None) -> torch.Tensor:
    """Zeros, or for gate z the logarithms of time constants up to `longest` steps less 1."""
    bias = torch.zeros_like(like)
    if longest is not None:
        bias[: len(bias) // 3].uniform_(1, longest - 1).log_()
    return bias


def _checkpoint_plain(checkpoint: Callable[..., Any], layer: Any, *args: Any) -> Any:
    """Gradient checkpointing, but not while peft computes the weights of a layer from an adapter:
    it does not do so again when the layer is computed again.

    `layer` is the partial function with which transformers calls a layer.
    """
    parts = (*layer.args, getattr(layer.func, "__self__", None)) if type(layer) is partial else ()
    if any(isinstance(part, nn.Module) and is_parametrized(part) for part in parts):
        return layer(*args)
    return checkpoint(layer, *args)


def _thresholds(like: torch.Tensor, mean: float) -> torch.Tensor:
    """Samples of Beta(3 m / (1 - m), 3), which PyTorch draws in float32 or float64 only."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    shape = torch.tensor([3 * mean / (1 - mean), 3.0], dtype=dtype)
    return torch.distributions.Beta(*shape).sample(like.shape).clamp(0, 1)


def not_finite(model: nn.Module) -> list[str]:
    """Parameters with NaN or infinity, one module at a time where they are kept on disk."""
    bad = []
    for name, module in model.named_modules():
        with in_memory(module):
            for own, weight in module.named_parameters(name, recurse=False):
                if not (weight.is_meta or bool(torch.isfinite(weight).all())):
                    bad.append(own)
    return bad


def in_memory(module: nn.Module) -> AbstractContextManager[Any]:
    """In the block, the weights that accelerate keeps elsewhere are where it computes."""
    if not hasattr(module, "_hf_hook"):
        return nullcontext()
    from accelerate.utils import align_module_device

    return align_module_device(module)


def _check_quantised(name: Any, model: Any) -> None:
    """transformers ignores a method that it does not know, and draws the missing weights."""
    found = getattr(model.config, "quantization_config", None)
    is_described = isinstance(found, dict) or hasattr(found, "quant_method")
    if is_described and getattr(model, "hf_quantizer", None) is None:
        raise ValueError(
            f"checkpoint {name} is compressed or quantised by {short(_method(found))}, which is "
            "not registered with transformers; for 'evenfall', install evenfall-sparsity and "
            "import evenfall_sparsity first; for 'evenfall-egru', evenfall-egru and evenfall_egru"
        )
    _check_method(found)


_INSTEAD = "use evenfall_egru.EgruQuantizationConfig(weights='int8')"


def _check_method(config: Any) -> None:
    """Other libraries quantise torch.nn.Linear and leave the rest as it is, without a word."""
    if config is None:
        return
    if not isinstance(config, dict) and not hasattr(config, "quant_method"):
        raise ValueError(f"quantization_config must be a mapping, got {short(config)}; {_INSTEAD}")
    method = _method(config)
    if method in _METHODS:
        return
    if not isinstance(method, str) or method not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise ValueError(f"quantization_config: unknown quant_method {short(method)}; {_INSTEAD}")
    raise ValueError(
        f"quantization_config: method {method!r} quantises torch.nn.Linear and leaves all matrices "
        f"of EGRU layers as they are; {_INSTEAD}"
    )


def _method(config: Any) -> Any:
    method = config.get("quant_method") if isinstance(config, dict) else config.quant_method
    return getattr(method, "value", method)


__all__ = [
    "CACHE",
    "EgruCausalLMOutput",
    "EgruClassifierOutput",
    "EgruModelOutput",
    "EgruPreTrainedModel",
    "EgruTokenClassifierOutput",
    "MismatchedShapesError",
    "in_memory",
    "not_finite",
    "wants_dict",
]
