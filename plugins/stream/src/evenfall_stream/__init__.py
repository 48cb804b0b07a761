"""STREAM for torch_geometric: geometric state-space layers and models for points and events."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .models.classifier import StreamClassifier
    from .models.event_classifier import EventStreamClassifier
    from .models.segmentation import StreamSegmenter
    from .nn.block import StreamBlock
    from .nn.conv import StreamConv
    from .online.classifier import OnlineClassifier

__all__ = [
    "EventStreamClassifier",
    "OnlineClassifier",
    "StreamBlock",
    "StreamClassifier",
    "StreamConv",
    "StreamSegmenter",
]

_HOME = {
    "EventStreamClassifier": "models.event_classifier",
    "OnlineClassifier": "online.classifier",
    "StreamBlock": "nn.block",
    "StreamClassifier": "models.classifier",
    "StreamConv": "nn.conv",
    "StreamSegmenter": "models.segmentation",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first access: importing PyTorch Geometric takes seconds.

    Raises:
        AttributeError: `name` is not a public name.
    """
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
