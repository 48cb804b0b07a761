"""Compressed models of transformers: saved and loaded as any quantised model of theirs.

Importing this module registers the method "evenfall" with transformers, if it is installed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from evenfall_kernels import StoredMatrix

from .modules import make_dense, restore

METHOD = "evenfall"
VERSION = 1

try:
    from transformers import PreTrainedModel
    from transformers.quantizers import (
        HfQuantizer,
        register_quantization_config,
        register_quantizer,
    )
    from transformers.utils.quantization_config import QuantizationConfigMixin
except ImportError:  # the extra `transformers` is not installed
    PreTrainedModel = None


def mark_compressed(model: nn.Module, stored: dict[str, dict[str, Any]]) -> None:
    """Tell transformers how to save a model; other models need nothing."""
    if PreTrainedModel is None or not isinstance(model, PreTrainedModel) or not stored:
        return
    config = CompressionConfig(stored)
    _untie(model, stored)
    model.config.quantization_config = config
    quantizer: Any = CompressionQuantizer(config)
    model.hf_quantizer, model.is_quantized = quantizer, True
    model.quantization_method = METHOD


def _untie(model: Any, stored: dict[str, Any]) -> None:
    """A compressed matrix is no longer tied to an embedding."""
    tied = model.all_tied_weights_keys
    if any(name in stored for pair in tied.items() for name in pair):
        model.config.tie_word_embeddings = False
        model.all_tied_weights_keys = {
            a: b for a, b in tied.items() if a not in stored and b not in stored
        }


def _check_loaded(name: str, matrix: StoredMatrix) -> None:
    """transformers only warns of tensors that a file lacks, and leaves memory as it was in them."""
    missing = [
        f"{name}.{part}"
        for part, tensor in matrix.named_buffers()
        if not getattr(tensor, "_is_hf_initialized", False)
    ]
    if missing:
        raise ValueError(f"the files of the compressed model have no {missing}")


if PreTrainedModel is not None:

    @register_quantization_config(METHOD)
    class CompressionConfig(QuantizationConfigMixin):
        """The part of config.json that describes the stored matrices.

        Args:
            matrices: full name of a parameter -> description of its StoredMatrix.
            version: of this description.
        """

        def __init__(
            self,
            matrices: dict[str, dict[str, Any]],
            version: int = VERSION,
            quant_method: str = METHOD,
        ) -> None:
            if version != VERSION:
                raise ValueError(
                    f"quantization_config: version must be {VERSION}, got {version}; the model was "
                    "compressed by another version of evenfall-sparsity"
                )
            self.matrices, self.version = matrices, version
            self.quant_method = quant_method

    @register_quantizer(METHOD)
    class CompressionQuantizer(HfQuantizer):
        """Puts stored matrices into a model before its weights are loaded."""

        def validate_environment(self, *args: Any, **kwargs: Any) -> None:
            """Refuse to compress while loading."""
            if not self.pre_quantized:
                raise ValueError(
                    "quantization_config: compress a loaded model with evenfall_sparsity.compress"
                )

        def _process_model_before_weight_loading(self, model: Any, **kwargs: Any) -> Any:
            return restore(model, self.quantization_config.matrices)

        def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
            """Check the contents: the compiled loops do not."""
            for name in self.quantization_config.matrices:
                matrix: StoredMatrix = model.get_submodule(name)
                _check_loaded(name, matrix)
                matrix.matrix()
            return model

        def _dequantize(self, model: Any, dtype: torch.dtype | None = None) -> Any:
            for name in self.quantization_config.matrices:
                make_dense(model, name, dtype or torch.float32)
            return model

        def is_serializable(self, *args: Any, **kwargs: Any) -> bool:
            """Yes: save_pretrained writes the stored matrices."""
            return True

        @property
        def is_trainable(self) -> bool:
            """No."""
            return False
