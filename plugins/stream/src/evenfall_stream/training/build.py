"""Make the transforms and models of a recipe."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from typing import Any

import torch_geometric.transforms as pyg_transforms
from torch import nn
from torch_geometric.transforms import BaseTransform, Compose

from .. import transforms as own_transforms
from ..models.classifier import StreamClassifier
from ..models.event_classifier import EventStreamClassifier

MODELS: dict[str, type[nn.Module]] = {
    "StreamClassifier": StreamClassifier,
    "EventStreamClassifier": EventStreamClassifier,
}
TASKS = {"points": "StreamClassifier", "events": "EventStreamClassifier"}


def make_transforms(steps: Sequence[str | dict[str, Any]], name: str = "augmentation") -> Compose:
    """The transforms of a list such as [RandomShift: {most: 0.1}, NormalizeSphere].

    The names are of evenfall_stream.transforms, or else of torch_geometric.transforms.

    Raises:
        ValueError: a step has another form, or a transform or argument is unknown.
    """
    return Compose([_transform(step, name) for step in steps])


def _transform(step: str | dict[str, Any], name: str) -> BaseTransform:
    if isinstance(step, str):
        step = {step: None}
    if not isinstance(step, dict) or len(step) != 1:
        raise ValueError(f"{name} must list transforms as NAME or NAME: {{...}}, got {step!r}")
    ((kind, options),) = step.items()
    transforms = {
        each: getattr(module, each)
        for module in (pyg_transforms, own_transforms)
        for each in module.__all__
    }
    if kind not in transforms:
        matches = difflib.get_close_matches(str(kind), transforms, n=3, cutoff=0.4)
        raise ValueError(f"{name} has the unknown transform {kind!r}; closest are {matches}")
    try:
        return transforms[kind](**(options or {}))
    except TypeError as error:
        raise ValueError(f"{name}, {kind}: {error}") from None


def make_model(kind: str, options: dict[str, Any], classes: Sequence[str]) -> nn.Module:
    """A model of the class named `kind`, for these classes.

    Raises:
        ValueError: no such model, or it has no such options.
    """
    if kind not in MODELS:
        raise ValueError(f"model must be one of {sorted(MODELS)}, got {kind!r}")
    try:
        return MODELS[kind](num_classes=len(classes), class_names=list(classes), **options)
    except TypeError as error:
        names = [p for p in inspect.signature(MODELS[kind].__init__).parameters if p != "self"]
        raise ValueError(f"model_options: {error}; the arguments of {kind} are {names}") from None
