"""`evenfall stream predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from evenfall.cli.tools import clear_errors

from .common import show_predictions


def predict(
    checkpoint: Annotated[str, typer.Argument(help="Folder, or model on the Hugging Face Hub.")],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Clouds: .off .ply .npy .npz .xyz .txt .csv; recordings: .bs2 .bin .aedat .npz."
        ),
    ],
    points: Annotated[int, typer.Option(min=1, help="Points to sample from a mesh.")] = 1024,
    top: Annotated[int, typer.Option(min=1, help="Classes to show.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")] = False,
) -> None:
    """Classify point clouds or event recordings."""
    import torch
    from torch_geometric.data import Batch

    from ..datasets.readers.inputs import read_cloud, read_events
    from ..models.event_classifier import EventStreamClassifier
    from ..models.loading import load_checkpoint
    from ..models.prediction import logits

    with clear_errors():
        model = load_checkpoint(checkpoint)
        device = next(model.parameters()).device
        classes = model.class_names or [str(index) for index in range(model.num_classes)]
        probabilities = []
        for path in inputs:
            if isinstance(model, EventStreamClassifier):
                data = read_events(path, model.sensor_size)
            else:
                data = read_cloud(path, points)
            with torch.no_grad():
                out = logits(model, Batch.from_data_list([data]).to(device))
            probabilities.append(out[0].double().softmax(0).tolist())
        names = [str(path) for path in inputs]
        if as_json:
            rows = [
                {"input": name, "probabilities": dict(zip(classes, row, strict=True))}
                for name, row in zip(names, probabilities, strict=True)
            ]
            typer.echo(json.dumps(rows, indent=2))
        else:
            show_predictions(names, probabilities, classes, min(top, len(classes)))
