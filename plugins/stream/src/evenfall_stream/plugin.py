"""Entry point: registers the plugin's contents without importing a framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evenfall import hookimpl

EVENFALL_API = 1


@hookimpl
def evenfall_register_layers(register: Callable[..., Any]) -> None:
    """Register the layer and its residual block."""
    for name, summary in (
        ("StreamConv", "all points interact, in linear time"),
        ("StreamBlock", "StreamConv with norm, residual and drop path"),
    ):
        register(name, f"evenfall_stream:{name}", host="torch_geometric", summary=summary)


@hookimpl
def evenfall_register_models(register: Callable[..., Any]) -> None:
    """Register the models."""
    for name, summary in (
        ("StreamClassifier", "classifies point clouds"),
        ("EventStreamClassifier", "classifies event streams and spiking audio"),
        ("StreamSegmenter", "classifies each point of a cloud"),
    ):
        register(name, f"evenfall_stream:{name}", host="torch_geometric", summary=summary)


@hookimpl
def evenfall_register_checkpoints(register: Callable[..., Any]) -> None:
    """Register the published checkpoints."""
    for name, model, data in (
        ("stream-modelnet10-small", "StreamClassifier", "ModelNet10, 1024 points"),
        ("stream-nmnist-small", "EventStreamClassifier", "N-MNIST recordings"),
        ("stream-digits-small", "EventStreamClassifier", "spoken digits as events"),
    ):
        register(
            name,
            f"evenfall_stream.publish.checkpoints:{name.upper().replace('-', '_')}",
            folder=f"hub_cards/{name}",
            model_types=["stream-classifier", "event-stream-classifier", "stream-segmenter"],
            summary=f"{data}; loads with {model}.from_pretrained",
        )


@hookimpl
def evenfall_register_datasets(register: Callable[..., Any]) -> None:
    """Register the data sets as arrays, under the names that recipes use."""
    for name, contents, summary in (
        ("clouds", "points", "your own point clouds, one folder a class"),
        ("dvs128-gesture", "events", "gestures recorded by an event camera"),
        ("modelnet10", "points", "point clouds of objects, 10 classes"),
        ("modelnet40", "points", "point clouds of objects, 40 classes"),
        ("nmnist", "events", "digits recorded by an event camera"),
        ("recordings", "events", "your own recordings or WAV files, one folder a class"),
        ("s3dis", "segments", "rooms of buildings, a class of each point"),
        ("scanobjectnn", "points", "scanned objects"),
        ("shapenet-part", "segments", "objects, the part of each point"),
        ("shd", "events", "spoken digits as spikes"),
        ("spoken-digits", "events", "spoken digits as events of a bank of filters"),
        ("ssc", "events", "spoken words as spikes"),
        ("synthetic-rooms", "segments", "generated rooms of boxes, a class of each point"),
    ):
        reference = f"evenfall_stream.datasets.arrays:{name.replace('-', '_')}"
        register(name, reference, contents=contents, summary=summary)


@hookimpl
def evenfall_register_counters(register: Callable[..., Any]) -> None:
    """Register the operation counters of STREAM's modules and of PyG's linear layer."""
    for path, counter in (
        ("torch_geometric.nn.Linear", "LINEAR"),
        ("evenfall_stream.nn.selective.SelectiveView", "SELECTIVE_VIEW"),
        ("evenfall_stream.nn.event_embedding.EventEmbedding", "EVENT_EMBEDDING"),
    ):
        register(path, f"evenfall_stream.counters:{counter}", host="torch_geometric")


@hookimpl
def evenfall_register_trainers(register: Callable[..., Any]) -> None:
    """Register the trainer of classifiers."""
    register(
        "stream",
        "evenfall_stream.training.trainer_entry",
        summary="classifiers of point clouds and event recordings",
        metric="accuracy",
        greater_is_better=True,
    )


@hookimpl
def evenfall_register_splitters(register: Callable[..., Any]) -> None:
    """Register how the models are called and split into blocks."""
    for name, splitter in (
        ("StreamClassifier", "POINTS"),
        ("EventStreamClassifier", "EVENTS"),
    ):
        register(
            f"evenfall_stream.{name}",
            f"evenfall_stream.models.splitters:{splitter}",
            host="torch_geometric",
            summary="blocks end after STREAM blocks or stages",
        )


@hookimpl
def evenfall_register_commands(register: Callable[..., Any]) -> None:
    """Register `evenfall stream`."""
    register(
        "stream", "evenfall_stream.cli:app", summary="STREAM on point clouds and event streams."
    )
