"""Blocks of weights: how a matrix is cut into them, their norms, and masks of whole blocks.

Dimensions: I inputs, G gates, n outputs of a gate, K places of a convolution's kernel;
P = ceil(I / r) and Q = ceil(n / c) blocks along the inputs and along the outputs of a gate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from evenfall.counting import Matrix
from evenfall.errors import shorten

Block = tuple[int, int]


@dataclass(frozen=True)
class Grid:
    """A weight cut into blocks of r inputs by c outputs, whatever the order of its axes.

    Each gate is cut alone, and so is each place of a convolution's kernel. At the end of the
    inputs and of each gate a block may be smaller.

    Attributes:
        shape: of the weight.
        input_axis: the axis of the inputs.
        gates: equal parts of the outputs.
        block: (r, c).
    """

    shape: tuple[int, ...]
    input_axis: int
    gates: int
    block: Block

    @staticmethod
    def of(weight: Tensor, matrix: Matrix, block: Block, name: str) -> Grid:
        """The grid of a matrix.

        Raises:
            ValueError: a block is larger than the inputs or than the outputs of a gate.
        """
        grid = Grid(tuple(weight.shape), matrix.input_axis, matrix.gates, block)
        inputs, outputs = grid.inputs, grid.outputs
        if block[0] > inputs or block[1] > outputs:
            gate = " of a gate" if matrix.gates > 1 else ""
            raise ValueError(
                f"block {block} does not fit {name}, which has {inputs} inputs and {outputs} "
                f"outputs{gate}; choose a smaller block or exclude the matrix"
            )
        return grid

    @property
    def inputs(self) -> int:
        """I."""
        return self.shape[self.input_axis]

    @property
    def output_axis(self) -> int:
        """The axis of the outputs."""
        return int(self.input_axis == 0)

    @property
    def outputs(self) -> int:
        """n."""
        return self.shape[self.output_axis] // self.gates

    @property
    def places(self) -> int:
        """K."""
        return math.prod(self.shape) // (self.inputs * self.shape[self.output_axis])

    @property
    def block_shape(self) -> tuple[int, int, int, int]:
        """(P, G, Q, K)."""
        r, c = self.block
        return -(-self.inputs // r), self.gates, -(-self.outputs // c), self.places

    @property
    def is_single(self) -> bool:
        """Whether a block is a single weight."""
        return self.block == (1, 1)

    def split(self, weight: Tensor) -> Tensor:
        """A tensor of the weight's shape as (I, G, n, K), a view where possible."""
        moved = weight.movedim((self.input_axis, self.output_axis), (0, 1))
        return moved.reshape(self.inputs, self.gates, self.outputs, self.places)

    def join(self, split: Tensor) -> Tensor:
        """(I, G, n, K) in the weight's shape; the inverse of `split`."""
        others = [n for axis, n in enumerate(self.shape) if axis not in self._matrix_axes]
        moved = split.reshape(self.inputs, self.shape[self.output_axis], *others)
        return moved.movedim((0, 1), (self.input_axis, self.output_axis))

    @property
    def _matrix_axes(self) -> tuple[int, int]:
        return self.input_axis, self.output_axis

    def sums(self, values: Tensor) -> Tensor:
        """The sum of the values in each block, (P, G, Q, K)."""
        r, c = self.block
        p, g, q, k = self.block_shape
        split = self.split(values)
        padded = F.pad(split, (0, 0, 0, q * c - self.outputs, 0, 0, 0, p * r - self.inputs))
        return padded.reshape(p, r, g, q, c, k).sum((1, 4))

    def totals(self, values: Tensor) -> Tensor:
        """The sum of the values in each block; of single weights the values themselves."""
        return values if self.is_single else self.sums(values)

    def norms(self, values: Tensor) -> Tensor:
        """The L2 norm of each block, in float32 or float64; of single weights the magnitude, in
        the shape of the weight."""
        wide = values if values.dtype == torch.float64 else values.float()
        return wide.abs() if self.is_single else self.sums(wide.square()).sqrt()

    def spread(self, blocks: Tensor) -> Tensor:
        """A value for each block, (P, G, Q, K), as a value for each weight."""
        if self.is_single:
            return blocks
        r, c = self.block
        split = blocks.repeat_interleave(r, 0)[: self.inputs]
        return self.join(split.repeat_interleave(c, 2)[:, :, : self.outputs])


def check_block(block: object) -> Block:
    """(r, c) from a pair of positive integers, or from text such as "1x16".

    Raises:
        ValueError: it is something else.
    """
    parts: object = block
    if isinstance(block, str):
        parts = [int(part) if part.isdecimal() else 0 for part in block.lower().split("x")]
    if (
        isinstance(parts, tuple | list)
        and len(parts) == 2
        and all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in parts)
    ):
        return parts[0], parts[1]
    raise ValueError(
        f"block must be two positive integers (inputs, outputs), or text such as '1x16', "
        f"got {shorten(block)}"
    )
