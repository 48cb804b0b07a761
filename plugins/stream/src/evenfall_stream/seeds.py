"""Randomness that depends on its place in a run alone, so that a resumed run draws the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derived_seed(seed: int, *place: int) -> int:
    """A 63-bit seed for one place of a run, such as (epoch, index); places do not repeat."""
    # Its length comes first: a seed sequence takes trailing zeros for nothing.
    sequence = np.random.SeedSequence([len(place), seed, *place])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def seeded(seed: int, *place: int) -> Iterator[None]:
    """Within the block torch's CPU generator, NumPy and random draw from the place's own seed.

    torch_geometric's transforms draw from all three. The generators of devices are left alone:
    dropout draws from them while transforms run.
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
