"""What `split_blocks` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..features import FeatureShape


class SplitError(ValueError):
    """A model cannot be cut as asked. The message says why and what can be done."""


@dataclass(frozen=True)
class Block:
    """One block of a model.

    Attributes:
        boundary: the module after which the block ends; None for the last block.
        parameters: names of its trainable parameters.
        numel: their number of elements.
        macs: multiply-accumulates of a call with the example inputs, without custom kernels.
        saved: bytes saved for the backward pass in that call.
        shape: layout of its features; None for the last block.
    """

    boundary: str | None
    parameters: tuple[str, ...] = field(repr=False)
    numel: int
    macs: float
    saved: float
    shape: FeatureShape | None = None


@dataclass(frozen=True)
class Split:
    """A model cut into blocks.

    Attributes:
        blocks: in the order of the forward pass.
        legal: every module after which the model can be cut, in that order.
        unused: names of trainable parameters that do not reach the output.
        tied: what was done to tied weights, one line each.
        detached: names of modules whose output is detached, because their weights are tied to the
            last block's.
        cloned: boundaries whose output a later operation changes in place.
        call: the arguments of the recorded call.
        output: of that call.
        kind: type of the parameters in that call.
    """

    blocks: tuple[Block, ...]
    legal: tuple[str, ...] = field(repr=False)
    unused: tuple[str, ...] = ()
    tied: tuple[str, ...] = ()
    detached: tuple[str, ...] = ()
    cloned: frozenset[str] = frozenset()
    call: Any = field(default=None, repr=False, compare=False)
    output: Any = field(default=None, repr=False, compare=False)
    kind: Any = field(default=None, repr=False, compare=False)

    @property
    def boundaries(self) -> tuple[str, ...]:
        """The modules after which the blocks end, without the last block."""
        return tuple(block.boundary for block in self.blocks if block.boundary is not None)

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """The blocks as text: number, boundary, parameters, MACs, saved bytes."""
        return [
            (
                str(number),
                block.boundary or "(output)",
                f"{block.numel:,}",
                f"{block.macs / 1e6:,.1f} M",
                f"{block.saved / 2**20:,.1f} MiB",
            )
            for number, block in enumerate(self.blocks, 1)
        ]

    def __str__(self) -> str:
        heading = ("block", "ends after", "parameters", "MACs", "saved")
        table = [heading, *self.rows()]
        widths = [max(len(row[i]) for row in table) for i in range(len(heading))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in table]
        return "\n".join([*(line.rstrip() for line in lines), *self.tied])
