"""The small network that reads natural parameters from a block's features.

Dimensions: N rows, P pooled features, D natural parameters.
"""

from __future__ import annotations

from torch import Tensor, nn

from .features import Features, FeatureShape, pool_samples, pooled_size, token_rows


class ParameterHead(nn.Module):
    """Pooled features to natural parameters.

    Samples are pooled to rows; tokens are rows already. Depth 2 is a linear layer, a norm, ReLU and
    a linear layer; depth 1 a linear layer; depth 0 nothing, so that D is the number of channels.

    Args:
        shape: layout of the features.
        latent: D; ignored at depth 0.
        hidden: units of the hidden layer.
        depth: number of linear layers, 0 to 2.
        grid: rows and columns to which images are pooled.
        per_token: whether there is a row a token instead of a sample.
    """

    def __init__(
        self,
        shape: FeatureShape,
        latent: int,
        hidden: int,
        depth: int,
        grid: tuple[int, int],
        per_token: bool,
    ) -> None:
        super().__init__()
        self.shape, self.per_token = shape, per_token
        self.grid = grid if depth else (1, 1)
        width = shape.channels if per_token else pooled_size(shape, self.grid)
        self.latent = latent if depth else width
        self.layers: nn.Module = nn.Identity()
        if depth == 1:
            self.layers = nn.Linear(width, latent)
        elif depth == 2:
            norm = nn.LayerNorm(hidden) if per_token else nn.BatchNorm1d(hidden)
            self.layers = nn.Sequential(
                nn.Linear(width, hidden), norm, nn.ReLU(), nn.Linear(hidden, latent)
            )

    def forward(self, features: Features) -> Tensor:
        """(N, D) natural parameters; (B, L, D) for tokens."""
        if self.per_token:
            return self.layers(token_rows(features, self.shape))
        return self.layers(pool_samples(features, self.shape, self.grid))
