"""Configuration of the event-based GRU for transformers."""

from __future__ import annotations

import math
import reprlib
from dataclasses import field
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

_RATES = (
    "embedding_dropout", "word_dropout", "hidden_dropout", "output_dropout", "dropconnect",
    "zoneout",
)  # fmt: skip

_NUMBERS = (
    "dampening", "support", "embedding_range", "input_gain", "activity_regularization",
    "cell_regularization", "output_regularization", "slowness_regularization",
)  # fmt: skip

_MOST = 2**31 - 1  # of a size


def _is_size(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_sizes(config: Any, smallest_vocabulary: int = 1) -> None:
    """Raise ValueError unless vocabulary, embedding and layers have a size of at least 1, or the
    vocabulary the one that is given."""
    for name, least in (("vocab_size", smallest_vocabulary), ("embedding_size", 1)):
        value = getattr(config, name)
        if not _is_size(value, least):
            raise ValueError(f"{name} must be an integer of at least {least}, got {short(value)}")
    sizes = config.hidden_sizes
    if not isinstance(sizes, (list, tuple)) or not sizes or not all(map(_is_size, sizes)):
        raise ValueError(
            f"hidden_sizes must be a non-empty list of integers of at least 1, got {short(sizes)}"
        )
    most = max(config.vocab_size, config.embedding_size, *sizes)
    if most > _MOST:
        raise ValueError(f"vocabulary and layers must have at most {_MOST} rows, got {short(most)}")


def check_rates(config: Any, names: tuple[str, ...]) -> None:
    """Raise ValueError unless each of these is in [0, 1)."""
    for name in names:
        value = getattr(config, name)
        if not _is_number(value) or not 0 <= value < 1:
            raise ValueError(f"{name} must lie in [0, 1), got {short(value)}")


def check_numbers(config: Any, names: tuple[str, ...]) -> None:
    """Raise ValueError unless each of these is finite and not negative."""
    for name in names:
        value = getattr(config, name)
        if not _is_number(value) or not 0 <= value < math.inf:
            raise ValueError(f"{name} must be finite and not negative, got {short(value)}")


def check_flags(config: Any, names: tuple[str, ...]) -> None:
    """Raise ValueError unless each of these is True or False."""
    for name in names:
        if not isinstance(getattr(config, name), bool):
            raise ValueError(f"{name} must be True or False, got {short(getattr(config, name))}")


def check_choice(config: Any, name: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if getattr(config, name) not in choices:
        known = " or ".join(map(repr, choices))
        raise ValueError(f"{name} must be {known}, got {short(getattr(config, name))}")


def check_host(config: Any, others: dict[str, Any]) -> None:
    """Raise ValueError if transformers could not read these values; its errors name no key.

    Args:
        config: the configuration, before transformers reads it.
        others: its further values.
    """
    dtype = others.get("torch_dtype") if config.dtype is None else config.dtype
    kind = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype is not None and not isinstance(kind, torch.dtype):
        raise ValueError(f"dtype must be one of torch's, such as 'float32', got {short(dtype)}")
    stored = others.get("quantization_config")
    if stored is not None and not isinstance(stored, dict) and not hasattr(stored, "quant_method"):
        raise ValueError(f"quantization_config must be a mapping, got {short(stored)}")


def padding_index(config: Any) -> int | None:
    """The word that pads texts, or None.

    Raises:
        ValueError: the vocabulary does not have it.
    """
    pad: int | None = config.pad_token_id
    if pad is not None and not 0 <= pad < config.vocab_size:
        raise ValueError(
            f"pad_token_id must be in the vocabulary of {config.vocab_size} words, from 0, or "
            f"None, got {short(pad)}"
        )
    return pad


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def short(value: object) -> str:
    """The repr of a value for a message; `evenfall.errors.shorten` is not in published folders."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"<an integer of {value.bit_length()} bits>"
    return _REPR.repr(value)


_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 3, 60, 60


@strict
class EgruConfig(PreTrainedConfig):
    r"""
    Sizes, thresholds, surrogate and regularisation of an EGRU model. Defaults are the
    published values of the Penn Treebank language model, where known.

    Args:
        vocab_size: number of words or bytes; 0 for a model without an embedding, which reads
            `inputs_embeds` alone.
        embedding_size: width of the embedding, tied to the decoder if `tie_word_embeddings`.
        hidden_sizes: units of each layer. If the last differs from `embedding_size`, a linear
            projection precedes the decoder.
        variant: "released" (reset gate after the recurrent product, soft reset of h) or "paper".
        carry: what one call passes to the next: "full" (y and h) or "output" (y only; h restarts
            at 0, as in the released library, so perplexity depends on the window).
        dampening, support: height d and steepness s of the surrogate d max(0, 1 - s |c - thr|).
        threshold_mean: mean m of the initial thresholds, sampled from Beta(3 m / (1 - m), 3).
        threshold_trainable: whether thresholds are trained; forward clips them to [0, 1].
        embedding_range: standard deviation of the initial embedding.
        input_gain: factor of the initial kernel of the first layer; more than 1 for inputs that are
            small beside the thresholds.
        chrono_init: longest memory in steps of new units: the initial bias of gate z is log(u), u
            uniform in [1, chrono_init - 1] (arXiv 1804.11188); None for 0, a memory of two steps.
        embedding_dropout, hidden_dropout, output_dropout: locked dropout (one mask per
            sequence) after the embedding, between layers, before the decoder.
        word_dropout: share of the vocabulary whose embeddings are zeroed in a call.
        dropconnect: share of recurrent weights dropped, one mask per call.
        zoneout: probability that a unit keeps its state for a step.
        activity_regularization: weight of the activity in the training loss: the sum over layers
            of the mean event rate or, with a target, of the mean squared distance of the units'
            rates from it.
        activity_target: the target of the event rate of each unit, or None.
        cell_regularization: weight of the cells outside of their thresholds in the training loss:
            the sum over layers of the mean of max(0, c - thr)^2 + max(0, -c - thr)^2.
        output_regularization: weight of the mean squared output of the last layer in the training
            loss, the AR of arXiv 1708.01009.
        slowness_regularization: weight of the mean squared change of that output from a token to
            the next, its TAR.
        event_driven: read only the weight rows of units that fired when no gradient is needed.
        input_table: keep the product of every embedding and the first kernel for generation on the
            CPU, at most 256 MB, so that a token reads one row of it instead of the whole kernel.
    """

    model_type = "egru"

    vocab_size: int = 10000
    embedding_size: int = 750
    hidden_sizes: list[int] = field(default_factory=lambda: [1350, 1350, 750])
    variant: str = "released"
    carry: str = "full"
    dampening: float = 3.6
    support: float = 3.6
    threshold_mean: float = 0.01
    threshold_trainable: bool = True
    embedding_range: float = 0.3
    input_gain: float = 1.0
    chrono_init: int | None = None
    embedding_dropout: float = 0.0
    word_dropout: float = 0.0
    hidden_dropout: float = 0.0
    output_dropout: float = 0.0
    dropconnect: float = 0.0
    zoneout: float = 0.0
    activity_regularization: float = 0.0
    activity_target: float | None = None
    cell_regularization: float = 0.0
    output_regularization: float = 0.0
    slowness_regularization: float = 0.0
    event_driven: bool = True
    input_table: bool = False
    use_cache: bool = True
    tie_word_embeddings: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        check_sizes(self, smallest_vocabulary=0)
        check_host(self, kwargs)
        super().__post_init__(**kwargs)
        check_rates(self, _RATES)
        check_choice(self, "variant", ("released", "paper"))
        check_choice(self, "carry", ("full", "output"))
        if not _is_number(self.threshold_mean) or not 0 < self.threshold_mean < 1:
            raise ValueError(f"threshold_mean must lie in (0, 1), got {short(self.threshold_mean)}")
        check_numbers(self, _NUMBERS)
        if self.chrono_init is not None and not _is_size(self.chrono_init, 2):
            raise ValueError(
                f"chrono_init must be an integer of at least 2 or None, got "
                f"{short(self.chrono_init)}"
            )
        if self.activity_target is not None:
            check_rates(self, ("activity_target",))
            if not self.activity_regularization:
                raise ValueError("activity_target needs activity_regularization, its weight")
        check_flags(self, ("threshold_trainable", "event_driven", "input_table"))

    @property
    def hidden_size(self) -> int:
        return self.hidden_sizes[-1]

    @property
    def num_hidden_layers(self) -> int:
        return len(self.hidden_sizes)

    @num_hidden_layers.setter
    def num_hidden_layers(self, value: int) -> None:
        if value != len(self.hidden_sizes):
            raise ValueError(
                f"num_hidden_layers is the length of hidden_sizes, {len(self.hidden_sizes)}, got "
                f"{short(value)}. generate(assistant_early_exit=...) is not possible, since layers "
                "may differ in width: use prompt_lookup_num_tokens or assistant_model"
            )

    @property
    def layer_types(self) -> list[str]:
        return ["egru"] * len(self.__dict__["hidden_sizes"])

    def validate_layer_type(self) -> None:
        """Nothing to check: every layer is an "egru" layer."""


__all__ = ["EgruConfig"]
