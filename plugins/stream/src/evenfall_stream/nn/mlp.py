"""The MLP of a residual block: two linear layers with a GELU between them."""

from __future__ import annotations

from torch import Tensor, nn


class Mlp(nn.Module):
    r"""Apply an MLP to each row.

    .. math:: \mathrm{MLP}(x) = W_2 \, \mathrm{GELU}(W_1 x + b_1) + b_2

    with dropout after the GELU and after the second layer. The state-dict keys, initial values and
    random draws equal those of timm's `Mlp`, which it replaces.

    Args:
        channels: size of each input and output.
        hidden: size between the two layers.
        dropout: probability of zeroing a value.

    Shapes:
        - **input:** (\*, channels)
        - **output:** (\*, channels)
    """

    def __init__(self, channels: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.act = nn.GELU()
        self.drop1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden, channels)
        self.drop2 = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(*, channels) -> (*, channels)."""
        return self.drop2(self.fc2(self.drop1(self.act(self.fc1(x)))))
