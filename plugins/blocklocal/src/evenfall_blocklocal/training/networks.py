"""Models by name: small networks of the comparisons, timm's, transformers' and plugins'."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from evenfall import registry
from evenfall.errors import closest, shorten

from .source import Source


def make_network(name: str, source: Source, **options: Any) -> nn.Module:
    """The model `name` for samples of a source: a network of this file or of timm for images, one
    that a plugin registers, or a language model of transformers.

    Raises:
        ValueError: no such model, it does not fit the samples, or it has no such options.
        ImportError: it is a timm model and timm is not installed.
    """
    try:
        return _make(name, source, options)
    except TypeError as error:
        raise ValueError(f"model_options of {shorten(name)}: {error}") from error


def _make(name: str, source: Source, options: dict[str, Any]) -> nn.Module:
    if name in registry.models:
        host = registry.models.provenance(name).metadata.get("host")
        kind: Any = registry.models.get(name)
        return (
            _language_model(kind, source, options)
            if host == "transformers"
            else kind(num_classes=source.outputs, **options)
        )
    if name in NETWORKS:
        shape = _image_shape(name, source)
        return NETWORKS[name](shape, source.outputs, **options)
    if name.endswith("LMHeadModel") or name.endswith("ForCausalLM"):
        import transformers

        if not hasattr(transformers, name):
            raise ValueError(f"transformers has no model {shorten(name)}")
        return _language_model(getattr(transformers, name), source, options)
    make = timm_model(
        name,
        f"{', '.join(NETWORKS)}, a timm model, a language model of transformers, or a model of a "
        "plugin",
    )
    return make(num_classes=source.outputs, in_chans=_image_shape(name, source)[0], **options)


def timm_model(name: str, wanted: str) -> Callable[..., nn.Module]:
    """What makes timm's model `name`.

    Raises:
        ValueError: timm has no such model; the message ends with what is `wanted`.
        ImportError: timm is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise ImportError(f"model {shorten(name)} needs timm: pip install timm") from error
    if not timm.is_model(name):
        raise ValueError(f"unknown model {shorten(name)}: want {wanted}")
    return partial(timm.create_model, name)


def _image_shape(name: str, source: Source) -> tuple[int, ...]:
    if source.shape is None:
        raise ValueError(f"model {shorten(name)} takes images, but the data has none")
    return source.shape


def _language_model(kind: Any, source: Source, options: dict[str, Any]) -> nn.Module:
    if source.metric != "perplexity":
        raise ValueError(f"model {kind.__name__} takes text: data must be 'text'")
    known = kind.config_class()  # it takes any name
    for name in options:
        if not hasattr(known, name):
            raise ValueError(
                f"model_options of {kind.__name__} has no {shorten(name)}."
                f"{closest(name, known.to_dict())}"
            )
    model: nn.Module = kind(kind.config_class(vocab_size=source.outputs, **options))
    return model


def convolutional(
    shape: tuple[int, ...],
    classes: int,
    widths: tuple[int, ...] = (16, 32, 48, 64),
    grid: tuple[int, int] = (2, 4),
    hidden: int = 256,
) -> nn.Sequential:
    """Blocks of two 3 x 3 convolutions with BatchNorm and ReLU, and a 2 x 2 max-pool; then the mean
    over the cells of a grid and a two-layer classifier."""
    blocks: list[nn.Module] = []
    channels = shape[0]
    for width in widths:
        blocks.append(
            nn.Sequential(
                *_convolution(channels, width), *_convolution(width, width), nn.MaxPool2d(2)
            )
        )
        channels = width
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(grid), nn.Flatten(), nn.Linear(channels * grid[0] * grid[1], hidden),
        nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, classes),
    )  # fmt: skip
    return nn.Sequential(*blocks, head)


def multilayer(
    shape: tuple[int, ...], classes: int, width: int = 512, depth: int = 4
) -> nn.Sequential:
    """Linear layers with BatchNorm and ReLU, and a linear classifier."""
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = math.prod(shape)
    for _ in range(depth):
        layers.append(nn.Sequential(nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()))
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, classes))


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "two-digits-cnn": convolutional,
    "small-cnn": partial(convolutional, widths=(16, 32, 64), grid=(2, 2)),
    "mlp": multilayer,
}
"""Networks by name, each called with the shape of an image and the number of classes."""
