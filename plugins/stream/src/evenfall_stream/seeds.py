"""Random numbers that depend on the position in a run alone: a resumed run draws the same ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derived_seed(seed: int, *place: int) -> int:
    """A 63-bit seed for one place of a run, such as (epoch, index); no two places share a seed."""
    # The length comes first, because a seed sequence ignores trailing zeros.
    sequence = np.random.SeedSequence([len(place), seed, *place])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def seeded(seed: int, *place: int) -> Iterator[None]:
    """Seed torch's CPU generator, NumPy and random for one place; restore them after the block.

    torch_geometric's transforms draw from all three. The generators of devices stay as they are,
    because dropout draws from them while transforms run.
    """
    state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    own = derived_seed(seed, *place)
    torch.default_generator.manual_seed(own)
    np.random.seed(own & 0xFFFFFFFF)
    random.seed(own)
    try:
        yield
    finally:
        torch.set_rng_state(state[0])
        np.random.set_state(state[1])
        random.setstate(state[2])
