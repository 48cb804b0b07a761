"""Quantise an EGRU model, and save and load it as any quantised model of transformers.

Importing this module registers the method "evenfall-egru" with transformers.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from transformers.quantizers import HfQuantizer, register_quantizer

from evenfall_kernels import StoredMatrix, quantize_rows

from ..models.configuration_egru import EgruConfig
from ..models.pretrained_egru import EgruPreTrainedModel, not_finite
from .config import METHOD, EgruQuantizationConfig
from .matrices import find_modules, list_matrices, put_matrices, put_parameters


def quantize(
    model: Any, weights: str = "int8", modules_to_not_convert: Sequence[str] | None = None
) -> Any:
    """Store the matrices of an EGRU model in fewer bytes, in place, and return it.

    The model is set to eval() and cannot be trained further. `save_pretrained` writes the stored
    matrices and `from_pretrained` reads them. `model.dequantize()` makes parameters again.

    Args:
        model: an EgruModel, EgruForCausalLM or another model with an EgruModel inside.
        weights, modules_to_not_convert: as in EgruQuantizationConfig.

    Raises:
        TypeError: the model is no EGRU model, or as EgruQuantizationConfig.
        ValueError: the model is quantised or compressed already, has adapters, other layers, or
            weights that are not finite or are on the meta device; no module has a name of
            `modules_to_not_convert`; or as EgruQuantizationConfig.
    """
    _check_model(model)
    if getattr(model.config, "quantization_config", None) is not None:
        raise ValueError("model is compressed or quantised already")
    config = _store(model, EgruQuantizationConfig(weights, modules_to_not_convert))
    quantizer: Any = EgruQuantizer(config)
    model.config.quantization_config = config
    model.hf_quantizer, model.is_quantized, model.quantization_method = quantizer, True, METHOD
    return model


def _check_model(model: Any) -> None:
    config = getattr(model, "config", None)
    if isinstance(model, EgruPreTrainedModel) and isinstance(config, EgruConfig):
        return
    hint = "; merge its adapters first" if hasattr(model, "merge_and_unload") else ""
    raise TypeError(
        f"model must be an EGRU model of transformers, got {type(model).__name__}{hint}"
    )


def _store(model: Any, config: EgruQuantizationConfig) -> EgruQuantizationConfig:
    """Store the matrices and return the configuration with full names of modules."""
    config = copy.copy(config)  # the argument is the caller's
    config.modules_to_not_convert = find_modules(model, config.modules_to_not_convert)
    if bad := not_finite(model):
        raise ValueError(f"model contains values that are not finite, in {bad}")

    def make(weight: torch.Tensor) -> StoredMatrix:
        if weight.is_meta:
            raise ValueError("model is on the meta device, without values; load its weights first")
        if config.weights == "int8":
            return StoredMatrix(*quantize_rows(weight))
        dtype: torch.dtype = getattr(torch, config.weights)
        # A copy, also if it has this dtype: the parameter may be changed elsewhere.
        return StoredMatrix(weight.detach().to(dtype, copy=True).contiguous())

    put_matrices(model, config.modules_to_not_convert, make)
    return config


@register_quantizer(METHOD)
class EgruQuantizer(HfQuantizer):
    """Quantises a model after its weights are loaded, or loads stored matrices."""

    quantization_config: EgruQuantizationConfig

    def _process_model_before_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        config = self.quantization_config
        _check_model(model)
        if not self.pre_quantized:
            return model
        about = {"format": "rows", "dtype": config.weights, "scale": config.weights == "int8"}

        def make(weight: torch.Tensor) -> StoredMatrix:
            return StoredMatrix.empty({**about, "shape": list(weight.shape)}, weight.device)

        put_matrices(model, config.modules_to_not_convert, make)
        return model

    def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        if not self.pre_quantized:
            self.quantization_config = _store(model, self.quantization_config)
            model.config.quantization_config = self.quantization_config
            return model
        for name, matrix in list_matrices(model).items():
            _check_loaded(name, matrix)
        return model

    def _dequantize(self, model: Any, dtype: torch.dtype | None = None) -> Any:
        put_parameters(model, dtype or torch.float32)
        return model

    def is_serializable(self, *args: Any, **kwargs: Any) -> bool:
        """Yes: save_pretrained writes the stored matrices."""
        return True

    @property
    def is_trainable(self) -> bool:
        """No."""
        return False


def _check_loaded(name: str, matrix: StoredMatrix) -> None:
    """transformers only warns of tensors that a file lacks, and leaves memory as it was in them."""
    for part, tensor in matrix.named_buffers():
        if tensor.is_meta and not hasattr(matrix, "_hf_hook"):
            continue  # device_map="meta"
        if tensor.is_meta:
            raise ValueError(
                f"{name}.{part} must be in memory, got the meta device: matrices that are stored "
                "in few bytes cannot be offloaded; use offload_buffers=False"
            )
        if not getattr(tensor, "_is_hf_initialized", False):
            raise ValueError(f"the files of the quantised model have no {name}.{part}")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{name}.{part} contains values that are not finite")


__all__ = ["EgruQuantizer", "quantize"]
