"""Compressed models of transformers: saved and loaded as any quantised model of theirs.

Importing this module registers the method "evenfall" with transformers, if it is installed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from evenfall_kernels import StoredMatrix

from .modules import CompressedLinear, make_dense, restore

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
    """A compressed matrix and its bias are no longer tied to others, as an embedding; other ties
    stay.

    The configuration stays, too: its `tie_word_embeddings` is for all ties of a model.
    """
    alone = {*stored}
    for name in stored:
        module = model.get_submodule(name.rpartition(".")[0])
        if isinstance(module, CompressedLinear) and module.bias is not None:
            alone.add(f"{name.rpartition('.')[0]}.bias")
            module.bias = nn.Parameter(module.bias.detach().clone(), module.bias.requires_grad)
    for path, part in _parts(model):
        for name, tied in (
            ("_tied_weights_keys", part.get_expanded_tied_weights_keys()),
            ("all_tied_weights_keys", part.all_tied_weights_keys),
        ):
            left = {a: b for a, b in tied.items() if not alone & _names(path + a, path + b)}
            if left != tied:
                setattr(part, name, left)


def _names(*tensors: str) -> set[str]:
    """The names of tensors, and the matrices that they would be parts of."""
    return {*tensors, *(name.rpartition(".")[0] for name in tensors)}


def _tie_again(model: Any) -> None:
    """Tie what `_untie` left alone if it is still equal."""
    for _, part in _parts(model):
        if vars(part).pop("_tied_weights_keys", None) is not None:
            tied = part.get_expanded_tied_weights_keys()
            find = part.get_parameter_or_buffer
            equal = {a: b for a, b in tied.items() if torch.equal(find(a), find(b))}
            if equal != tied:
                part._tied_weights_keys = equal
            part.all_tied_weights_keys = part.get_expanded_tied_weights_keys(all_submodels=True)
            part.tie_weights()


def _parts(model: Any) -> list[tuple[str, Any]]:
    """The models of transformers in a model, itself included, with the prefix of their names."""
    return [
        (f"{path}." if path else "", part)
        for path, part in model.named_modules()
        if isinstance(part, PreTrainedModel)
    ]


def _check_loaded(path: str, module: nn.Module) -> None:
    """transformers only warns of tensors that a file lacks, and leaves memory as it was in them."""
    missing = [
        f"{path}.{part}"
        for part, tensor in (*module.named_parameters(), *module.named_buffers())
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
            stored = self.quantization_config.matrices
            restore(model, stored)
            _untie(model, stored)
            return model

        def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
            """Check the contents: the compiled loops do not."""
            for name in self.quantization_config.matrices:
                matrix: StoredMatrix = model.get_submodule(name)
                path = name.rpartition(".")[0]
                module = model.get_submodule(path)
                if isinstance(module, CompressedLinear):  # with its bias
                    _check_loaded(path, module)
                else:
                    _check_loaded(name, matrix)
                matrix.matrix()
            return model

        def _dequantize(self, model: Any, dtype: torch.dtype | str | None = None) -> Any:
            if isinstance(dtype, str):  # as save_pretrained leaves it in the configuration
                dtype = getattr(torch, dtype)
            for name in self.quantization_config.matrices:
                make_dense(model, name, dtype or torch.float32)
            _tie_again(model)
            return model

        def is_serializable(self, *args: Any, **kwargs: Any) -> bool:
            """Yes: save_pretrained writes the stored matrices."""
            return True

        @property
        def is_trainable(self) -> bool:
            """No."""
            return False
