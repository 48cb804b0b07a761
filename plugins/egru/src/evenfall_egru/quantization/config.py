"""The part of config.json that says how the matrices of an EGRU model are stored."""

from __future__ import annotations

from collections.abc import Sequence

from transformers.quantizers import register_quantization_config
from transformers.utils.quantization_config import QuantizationConfigMixin

from evenfall.checks import check_choice
from evenfall.errors import shorten

METHOD = "evenfall-egru"
VERSION = 1
WEIGHTS = ("int8", "bfloat16", "float16")


@register_quantization_config(METHOD)
class EgruQuantizationConfig(QuantizationConfigMixin):
    """How to store the matrices of an EGRU model; for `from_pretrained(quantization_config=...)`.

    Kernels, recurrent kernels, embedding and decoder are stored; biases, thresholds, a projection
    and a classifier's head are left as they are. States and sums are float32 in any case.

    Args:
        weights: "int8", with one float32 scale for the weights of each unit: `quantize_rows` of
            evenfall_kernels; or "bfloat16" or "float16".
        modules_to_not_convert: modules that are left as they are. As elsewhere in transformers, an
            entry is the name of a module ("model.layers.0"), of one that it is in ("model.layers"),
            the end of a name ("lm_head", "layers.0") or a regular expression ("model.layers.[01]").
            A decoder that is tied to the embedding is left as it is if one of both is named. A
            quantised model has the full names.
        version: of this description.
        quant_method: "evenfall-egru".

    Raises:
        ValueError: `weights` is none of these, or `version` or `quant_method` is another one.
        TypeError: `modules_to_not_convert` is no list of names.
    """

    def __init__(
        self,
        weights: str = "int8",
        modules_to_not_convert: Sequence[str] | None = None,
        version: int = VERSION,
        quant_method: str = METHOD,
    ) -> None:
        check_choice("weights", weights, WEIGHTS)
        if version != VERSION:
            raise ValueError(
                f"quantization_config: version must be {VERSION}, got {shorten(version)}; the "
                "model was quantised by another version of evenfall-egru"
            )
        if quant_method != METHOD:
            raise ValueError(f"quant_method must be {METHOD!r}, got {shorten(quant_method)}")
        names = [] if modules_to_not_convert is None else modules_to_not_convert
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise TypeError(
                "modules_to_not_convert must be a list of names, got "
                f"{shorten(modules_to_not_convert)}"
            )
        self.weights, self.modules_to_not_convert, self.version = weights, list(names), version
        self.quant_method = METHOD


__all__ = ["METHOD", "WEIGHTS", "EgruQuantizationConfig"]
