"""Entry point: registers the plugin's parts by name, without importing a framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evenfall import hookimpl

EVENFALL_API = 1

_MODELS = {
    "EgruModel": "EGRU base model",
    "EgruForCausalLM": "EGRU language model",
    "EgruForSequenceClassification": "EGRU sequence classifier",
    "EgruForTokenClassification": "EGRU token classifier",
    "RnnModel": "LSTM or GRU base model, for comparison",
    "RnnForCausalLM": "LSTM or GRU language model, for comparison",
}


@hookimpl
def evenfall_register_models(register: Callable[..., Any]) -> None:
    """Register the transformers models."""
    for name, summary in _MODELS.items():
        register(name, f"evenfall_egru:{name}", host="transformers", summary=summary)


@hookimpl
def evenfall_register_checkpoints(register: Callable[..., Any]) -> None:
    """Register the published checkpoints."""
    for name, model, what in (
        ("egru-ptb-small", "EgruForCausalLM", "Penn Treebank words"),
        (
            "egru-ptb-sparse",
            "EgruForCausalLM",
            "egru-ptb-small with a fifth of the layers' weights",
        ),
        ("egru-smnist-small", "EgruForSequenceClassification", "MNIST, four pixels a step"),
    ):
        register(
            name,
            f"evenfall_egru.publish.checkpoints:{name.upper().replace('-', '_')}",
            folder=f"hub_cards/{name}",
            model_types=["egru"],
            architectures=[model],
            summary=f"{what}; loads with {model.replace('Egru', 'AutoModel')}",
        )


@hookimpl
def evenfall_register_counters(register: Callable[..., Any]) -> None:
    """Register what counting, pruning and compression know of EGRU's modules."""
    for path, counter, summary in (
        (
            "models.layer_egru.EgruLayer",
            "EGRU_LAYER",
            "counts only the weights of units that fired",
        ),
        (
            "models.layer_egru.EgruDecoder",
            "EGRU_DECODER",
            "counts only the weights of units that fired",
        ),
        ("models.modeling_egru.EgruModel", "EGRU_MODEL", "which layer reads which"),
        ("models.modeling_egru.EgruForCausalLM", "EGRU_LANGUAGE_MODEL", "which layer reads which"),
        ("quantization.embedding.StoredEmbedding", "STORED_EMBEDDING", "rows of a table"),
    ):
        register(
            f"evenfall_egru.{path}",
            f"evenfall_egru.evaluation.counters:{counter}",
            host="transformers",
            summary=summary,
        )


@hookimpl
def evenfall_register_lowerings(register: Callable[..., Any]) -> None:
    """Register how the three models become graphs."""
    for name, lowering in (
        ("modeling_egru.EgruModel", "EGRU_MODEL"),
        ("modeling_egru.EgruForCausalLM", "EGRU_CAUSAL_LM"),
        ("classification_egru.EgruForSequenceClassification", "EGRU_CLASSIFIER"),
    ):
        register(
            f"evenfall_egru.models.{name}",
            f"evenfall_egru.lowerings:{lowering}",
            host="transformers",
            summary="embedding and decoder as dense layers, pruned weights as zeros",
        )


@hookimpl
def evenfall_register_datasets(register: Callable[..., Any]) -> None:
    """Register the data sets of frames."""
    for name, reader, summary in (
        ("mnist", "mnist:read_mnist", "MNIST read row by row, `pixels` pixels per step"),
        (
            "event-frames",
            "event_frames:read_event_frames",
            "recordings of another data set, such as nmnist, as counts of events per step",
        ),
    ):
        register(name, f"evenfall_egru.sequences.{reader}", contents="frames", summary=summary)


@hookimpl
def evenfall_register_trainers(register: Callable[..., Any]) -> None:
    """Register the trainers of language models and of classifiers."""
    register(
        "egru",
        "evenfall_egru.training.trainer_entry",
        summary="language models",
        metric="perplexity",
        greater_is_better=False,
    )
    register(
        "egru-classifier",
        "evenfall_egru.training.classifier_entry",
        summary="classifiers of frames: EGRU, GRU, LSTM",
        metric="accuracy",
        greater_is_better=True,
    )


@hookimpl
def evenfall_register_commands(register: Callable[..., Any]) -> None:
    """Register `evenfall egru`."""
    register(
        "egru", "evenfall_egru.cli:app", summary="EGRU language models: train, generate, pack."
    )
