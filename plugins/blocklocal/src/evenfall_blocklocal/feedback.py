"""The twin network that carries the target back to the blocks.

Block k gets natural parameters b_k from the target alone. Chained, a linear layer gives those of
the last local block, and each earlier block transforms the detached parameters of the block behind
it. Direct, every block has a layer of its own on the target. Each link is trained by the loss of
its own block.

Classes start far apart, and each link keeps their distances: with torch's usual small weights, all
classes would look alike to the first blocks for many steps.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

FEEDBACKS = ("chained", "direct")


class Feedback(nn.Module):
    """Feedback parameters of every block.

    Args:
        inputs: size of an encoded target: the number of classes, or of regressed values.
        widths: D of each local block, in the order of the forward pass.
        kind: "chained" or "direct".
    """

    def __init__(self, inputs: int, widths: Sequence[int], kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.links = nn.ModuleList(
            _first_link(inputs, width)
            if kind == "direct" or index == len(widths) - 1
            else _link(widths[index + 1], width)
            for index, width in enumerate(widths)
        )

    def forward(
        self,
        encoded: Tensor | None,
        index: int,
        behind: Tensor | None,
        classes: Tensor | None = None,
    ) -> Tensor:
        """b (Y, D) of block `index`.

        Args:
            encoded: (Y, inputs) encoded targets; None for the classes themselves, one-hot.
            index: of the block.
            behind: b of the block behind it, for a chained link.
            classes: (Y,) which classes, if there is no `encoded`; None for all.
        """
        link = self.links[index]
        if self.is_first(index):
            if encoded is None:  # a one-hot product is the transposed weight
                columns = link.weight.t()
                return (columns if classes is None else columns[classes]) + link.bias
            return link(encoded.to(link.weight.dtype))
        assert behind is not None
        return link(behind.detach())

    def is_first(self, index: int) -> bool:
        """Whether block `index` gets the target itself."""
        return self.kind == "direct" or index == len(self.links) - 1


def _first_link(inputs: int, outputs: int) -> nn.Linear:
    link = nn.Linear(inputs, outputs)
    nn.init.normal_(link.weight)
    nn.init.zeros_(link.bias)
    return link


def _link(inputs: int, outputs: int) -> nn.Sequential:
    hidden, last = nn.Linear(inputs, outputs), nn.Linear(outputs, outputs)
    nn.init.orthogonal_(hidden.weight, gain=nn.init.calculate_gain("relu"))
    nn.init.orthogonal_(last.weight)
    return nn.Sequential(hidden, nn.ReLU(), last)
