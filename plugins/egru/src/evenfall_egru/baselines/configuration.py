"""Configuration of the LSTM and GRU baselines for transformers."""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from ..models.configuration_egru import (
    check_choice,
    check_host,
    check_numbers,
    check_rates,
    check_sizes,
)

_RATES = ("embedding_dropout", "word_dropout", "hidden_dropout", "output_dropout", "dropconnect")


@strict
class RnnConfig(PreTrainedConfig):
    r"""
    Sizes and regularisation of an LSTM or GRU language model; the names are those of EgruConfig.

    Args:
        cell: "lstm" or "gru".
        vocab_size: number of words or bytes.
        embedding_size: width of the embedding, tied to the decoder if `tie_word_embeddings`.
        hidden_sizes: units of each layer. If the last differs from `embedding_size`, a linear
            projection precedes the decoder.
        carry: what one call passes to the next: "full" (h and c) or "output" (h only; c restarts
            at 0).
        embedding_range: standard deviation of the initial embedding.
        embedding_dropout, hidden_dropout, output_dropout: locked dropout (one mask per
            sequence) after the embedding, between layers, before the decoder.
        word_dropout: share of the vocabulary whose embeddings are zeroed in a call.
        dropconnect: share of recurrent weights dropped, one mask per call.
        output_regularization, slowness_regularization: weights of the mean squared output of the
            last layer, and of its change from a token to the next, in the training loss.

    Raises:
        ValueError: an unknown cell or carry, a size below 1, or a rate outside of [0, 1).
    """

    model_type = "rnn"

    # What EGRU's code reads and these models do not choose.
    event_driven: ClassVar[bool] = False
    activity_regularization: ClassVar[float] = 0.0

    cell: str = "lstm"
    vocab_size: int = 10000
    embedding_size: int = 750
    hidden_sizes: list[int] = field(default_factory=lambda: [1350, 1350, 750])
    carry: str = "full"
    embedding_range: float = 0.3
    embedding_dropout: float = 0.0
    word_dropout: float = 0.0
    hidden_dropout: float = 0.0
    output_dropout: float = 0.0
    dropconnect: float = 0.0
    output_regularization: float = 0.0
    slowness_regularization: float = 0.0
    use_cache: bool = True
    tie_word_embeddings: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        check_sizes(self)
        check_host(self, kwargs)
        super().__post_init__(**kwargs)
        check_rates(self, _RATES)
        check_numbers(self, ("embedding_range", "output_regularization", "slowness_regularization"))
        check_choice(self, "cell", ("lstm", "gru"))
        check_choice(self, "carry", ("full", "output"))

    @property
    def hidden_size(self) -> int:
        return self.hidden_sizes[-1]

    @property
    def num_hidden_layers(self) -> int:
        return len(self.hidden_sizes)

    @property
    def layer_types(self) -> list[str]:
        return ["rnn"] * len(self.hidden_sizes)

    def validate_layer_type(self) -> None:
        """Nothing to check: every layer is an "rnn" layer."""


__all__ = ["RnnConfig"]
