"""A token stream cut into lanes, and lanes into windows, so that state can run across windows.

Dimensions: L lanes in all, R ranks, B = L / R lanes a rank, T tokens a window, W windows an epoch.
"""

from __future__ import annotations

import torch
from torch.utils.data import Dataset


class LaneDataset(Dataset):
    """Item i is lane i mod L at window i // L; read in order, rank r always sees its own lanes.

    Accelerate deals out whole batches in turn, so that batch k of B items goes to rank k mod R:
    its lanes are then the same B lanes at every step. Each epoch starts at another offset within
    the first window, drawn from the seed and the epoch, so that windows do not always end at the
    same words.

    Args:
        tokens: (N,) the stream.
        lanes: L.
        window: T.
        seed: of the offsets.

    Raises:
        ValueError: too few tokens for a single window.
    """

    def __init__(self, tokens: torch.Tensor, lanes: int, window: int, seed: int = 0) -> None:
        self.tokens, self.lanes, self.window, self.seed = tokens, lanes, window, seed
        self.lane_length = (len(tokens) - 1) // lanes
        self.windows = (self.lane_length - window + 1) // window
        if self.windows < 1:
            raise ValueError(
                f"{len(tokens)} tokens are too few for {lanes} lanes and windows of {window}"
            )
        self.offset = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the offset of this epoch; accelerate's loader calls it."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        self.offset = int(torch.randint(self.window, (), generator=generator))

    def __len__(self) -> int:
        return self.lanes * self.windows

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        window, lane = divmod(index, self.lanes)
        first = lane * self.lane_length + self.offset + window * self.window
        tokens = self.tokens[first : first + self.window + 1]
        return {
            "input_ids": tokens[:-1],
            "labels": tokens[1:],
            "shift_labels": tokens[1:],  # Trainer then counts every one of them
            "window": torch.tensor(window),
        }
