"""Make the model of a recipe."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn

from evenfall.checks import check_choice
from evenfall.recipes import refuse_flags

from ..models.classifier import StreamClassifier
from ..models.event_classifier import EventStreamClassifier
from ..models.segmentation import StreamSegmenter

MODELS: dict[str, type[nn.Module]] = {
    "StreamClassifier": StreamClassifier,
    "EventStreamClassifier": EventStreamClassifier,
    "StreamSegmenter": StreamSegmenter,
}
TASKS = {
    "points": "StreamClassifier",
    "events": "EventStreamClassifier",
    "segments": "StreamSegmenter",
}


def make_model(kind: str, options: dict[str, Any], classes: Sequence[str]) -> nn.Module:
    """A model of the class named `kind`, for these classes.

    Raises:
        ValueError: no such model, or it has no such options.
    """
    check_choice("model", kind, sorted(MODELS))
    try:
        refuse_flags(MODELS[kind], options)
        return MODELS[kind](num_classes=len(classes), class_names=list(classes), **options)
    except TypeError as error:
        names = [p for p in inspect.signature(MODELS[kind].__init__).parameters if p != "self"]
        raise ValueError(f"model_options: {error}; the arguments of {kind} are {names}") from None
