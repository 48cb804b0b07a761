"""Small networks of the comparisons, and timm models by name."""

from __future__ import annotations

from typing import Any

from torch import nn

from evenfall.errors import shorten


def make_network(name: str, shape: tuple[int, ...], classes: int, **options: Any) -> nn.Module:
    """The network `name` for images of `shape` (C, H, W).

    Raises:
        ValueError: no such network or timm model.
        ImportError: it is a timm model and timm is not installed.
    """
    if name == "two-digits-cnn":
        return convolutional(shape[0], classes, **options)
    if name == "small-cnn":
        return convolutional(shape[0], classes, widths=(16, 32, 64), grid=(2, 2), **options)
    if name == "mlp":
        return multilayer(shape[0] * shape[1] * shape[2], classes, **options)
    try:
        import timm
    except ImportError as error:
        raise ImportError(f"model {shorten(name)} needs timm: pip install timm") from error
    if not timm.is_model(name):
        raise ValueError(
            f"unknown model {shorten(name)}: want two-digits-cnn, small-cnn, mlp or a timm model"
        )
    return timm.create_model(name, num_classes=classes, in_chans=shape[0], **options)


def convolutional(
    channels: int,
    classes: int,
    widths: tuple[int, ...] = (16, 32, 48, 64),
    grid: tuple[int, int] = (2, 4),
    hidden: int = 256,
) -> nn.Sequential:
    """Blocks of two 3 x 3 convolutions with BatchNorm and ReLU, and a 2 x 2 max-pool; then the mean
    over the cells of a grid and a two-layer classifier."""
    blocks: list[nn.Module] = []
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


def multilayer(inputs: int, classes: int, width: int = 512, depth: int = 4) -> nn.Sequential:
    """Linear layers with BatchNorm and ReLU, and a linear classifier."""
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(depth):
        layers.append(nn.Sequential(nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()))
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, classes))


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()
