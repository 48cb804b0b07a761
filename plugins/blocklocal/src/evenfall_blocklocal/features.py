"""What a block hands to its head: the features in its output, their layout, and their pooling.

Dimensions: B samples, C channels, L tokens, H and W rows and columns, N rows of all graphs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

Layout = Literal["nc", "graph", "nlc", "ncl", "nchw", "nhwc", "ncx"]


@dataclass(frozen=True)
class FeatureShape:
    """Layout of a block's features.

    Attributes:
        layout: "nc" (B, C), "graph" (N, C) rows of graphs, "nlc" (B, L, C), "ncl" (B, C, L),
            "nchw", "nhwc", or "ncx" (B, C, ...).
        channels: C.
        prefix: tokens before the others, such as the class token.
    """

    layout: Layout
    channels: int
    prefix: int = 0


@dataclass(frozen=True)
class Features:
    """Features of one call.

    Attributes:
        values: in the layout of the block's FeatureShape.
        graphs: (N,) the graph of each row, or None.
        count: number of graphs, or None.
        mask: (B, L), 0 at padding, or None.
    """

    values: Tensor
    graphs: Tensor | None = None
    count: int | None = None
    mask: Tensor | None = None


def read_output(
    inputs: tuple[Any, ...], output: Any, named: dict[str, Any]
) -> tuple[Tensor, Tensor | None]:
    """The first floating-point tensor of a module's output, and `batch`, the graph of each of its
    rows, if the call has one of that length."""
    values = next(t for t in tree_leaves(output) if isinstance(t, Tensor) and t.is_floating_point())
    batch = named.get("batch")
    if isinstance(batch, Tensor) and values.dim() == 2 and batch.shape == values.shape[:1]:
        return values, batch
    return values, None


def find_shape(
    model: nn.Module, values: Tensor, graphs: Tensor | None, named: dict[str, Any]
) -> FeatureShape:
    """The layout of `values`, the features of a module of `model` in a call with these arguments.

    Images are "nhwc" if the ratio of the first two inner sizes is that of the input, and the ratio
    of the last two is not.
    """
    size = values.shape
    if graphs is not None:
        return FeatureShape("graph", size[1])
    if values.dim() == 2:
        return FeatureShape("nc", size[1])
    if values.dim() == 3:
        if _is_channels_first(model, size):
            return FeatureShape("ncl", size[1])
        return FeatureShape("nlc", size[2], int(getattr(model, "num_prefix_tokens", 0)))
    if values.dim() == 4:
        images = [t for t in named.values() if isinstance(t, Tensor) and t.dim() == 4]
        if images:
            ratio = images[0].shape[-2] / images[0].shape[-1]
            first, last = abs(size[1] / size[2] - ratio), abs(size[2] / size[3] - ratio)
            if first < last:
                return FeatureShape("nhwc", size[3])
        return FeatureShape("nchw", size[1])
    if values.dim() < 2:
        raise ValueError(f"features of a block need at least 2 dimensions, got {tuple(size)}")
    return FeatureShape("ncx", size[1])


def _is_channels_first(model: nn.Module, size: torch.Size) -> bool:
    convolutions = {m.out_channels for m in model.modules() if isinstance(m, nn.Conv1d)}
    widths = {m.in_features for m in model.modules() if isinstance(m, nn.Linear)}
    return size[1] in convolutions and size[2] not in widths | convolutions


def pooled_size(shape: FeatureShape, grid: tuple[int, int]) -> int:
    """Columns of `pool_samples`."""
    if shape.layout in ("nchw", "nhwc"):
        return shape.channels * grid[0] * grid[1]
    return shape.channels * (2 if shape.layout == "nlc" and shape.prefix else 1)


def pool_samples(features: Features, shape: FeatureShape, grid: tuple[int, int]) -> Tensor:
    """One row a sample: the mean over tokens or over the cells of a grid, flattened. The class
    token is put before the mean of all tokens.

    Raises:
        ValueError: the mask has pairs of tokens, or leaves out some of another number of tokens.
    """
    x = features.values
    if shape.layout == "nc":
        return x
    if shape.layout == "graph":
        return _mean_of_graphs(x, features)
    if shape.layout == "nlc":
        mean = _mean_of_tokens(x, features.mask)
        return torch.cat([x[:, 0], mean], 1) if shape.prefix else mean
    if shape.layout in ("nchw", "nhwc"):
        x = x.permute(0, 3, 1, 2) if shape.layout == "nhwc" else x
        return F.adaptive_avg_pool2d(x, grid).flatten(1)
    if shape.layout == "ncl":
        return _mean_of_tokens(x.transpose(1, 2), features.mask)
    return x.flatten(2).mean(2)


def token_rows(features: Features, shape: FeatureShape) -> Tensor:
    """(B, L, C) or (N, C) features as they are, one row a token.

    Raises:
        ValueError: the features are not tokens.
    """
    if shape.layout not in ("nlc", "nc", "graph"):
        raise ValueError(
            f"targets of tokens need features of tokens, (batch, tokens, channels), got a block "
            f"whose output has shape {tuple(features.values.shape)}"
        )
    return features.values


def _mean_of_tokens(x: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None or mask.shape != x.shape[:2]:
        if mask is not None and (mask.dim() != 2 or (mask.device.type == "cpu" and not mask.all())):
            raise ValueError(
                "attention_mask must be (batch, tokens) as a block's output, "
                f"{tuple(x.shape[:2])}, so that its head leaves out the same tokens, got shape "
                f"{tuple(mask.shape)}; without it, train on batches without padding"
            )
        return x.mean(1)
    weight = mask.to(x.dtype).unsqueeze(-1)
    return (x * weight).sum(1) / weight.sum(1).clamp(min=1)


def _mean_of_graphs(x: Tensor, features: Features) -> Tensor:
    graphs = features.graphs
    assert graphs is not None
    count = int(graphs.max()) + 1 if features.count is None else features.count
    total = x.new_zeros(count, x.shape[1]).index_add(0, graphs, x)
    rows = torch.bincount(graphs, minlength=count).clamp(min=1)
    return total / rows.unsqueeze(1).to(x.dtype)
