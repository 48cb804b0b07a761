"""What a pipeline of blocks would cost, from the measured seconds of each block.

Block-local stages only wait for activations. For n steps over stages of t_1 ... t_P seconds,

    T = sum_p t_p + (n - 1) max_p t_p        the pipeline
    T_ideal = n sum_p t_p / P                perfectly balanced, without fill

and the fill bubble is sum_p t_p - max_p t_p. End-to-end pipelines pay it at every step; here it
occurs once a run.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from evenfall.checks import check_integer, check_number
from evenfall.errors import shorten

from ..splitting.balance import choose_cuts


@dataclass(frozen=True)
class PipelineCost:
    """The cost of one number of ranks.

    Attributes:
        ranks: P.
        seconds: T of the run.
        speedup: one process divided by T.
        efficiency: T_ideal / T.
        bubble: seconds of the fill.
        bytes_per_step: sent at each step, over all boundaries between ranks.
    """

    ranks: int
    seconds: float
    speedup: float
    efficiency: float
    bubble: float
    bytes_per_step: float


def pipeline_costs(
    block_seconds: Sequence[float],
    ranks: Sequence[int],
    steps: int,
    *,
    boundary_bytes: Sequence[float] = (),
    bandwidth: float = float("inf"),
) -> list[PipelineCost]:
    """Simulate runs on different numbers of ranks, up to one for each block.

    Args:
        block_seconds: forward, local backward and optimizer step of each block.
        ranks: numbers of ranks.
        steps: n.
        boundary_bytes: size of the activations after each block but the last one.
        bandwidth: bytes a second between ranks; sending is added to the sender's time.

    Raises:
        ValueError: more ranks than blocks, sizes that do not match, or a number out of range.
    """
    check_integer("steps", steps, 1)
    if not bandwidth > 0:
        raise ValueError(f"bandwidth must be more than 0, got {shorten(bandwidth)}")
    if not block_seconds:
        raise ValueError("block_seconds must have a number for each block, got none")
    for seconds in block_seconds:
        check_number("block_seconds", seconds, above=True)
    count = len(block_seconds)
    sizes = list(boundary_bytes) or [0.0] * (count - 1)
    if len(sizes) != count - 1:
        raise ValueError(f"boundary_bytes must have {count - 1} entries, got {len(sizes)}")
    reached = list(itertools.accumulate(block_seconds))
    one = steps * reached[-1]
    costs = []
    for number in ranks:
        if not 1 <= number <= count:
            raise ValueError(f"ranks must be from 1 to the {count} blocks, got {number}")
        cuts = choose_cuts(reached[:-1], reached[-1], number)
        ends = [*(reached[cut] for cut in cuts), reached[-1]]
        stages = [end - start for start, end in zip([0.0, *ends], ends, strict=False)]
        for stage, cut in enumerate(cuts):
            stages[stage] += sizes[cut] / bandwidth
        total = sum(stages) + (steps - 1) * max(stages)
        costs.append(
            PipelineCost(
                number, total, one / total, one / number / total, sum(stages) - max(stages),
                sum(sizes[cut] for cut in cuts),
            )
        )  # fmt: skip
    return costs
