"""A text as contiguous streams, and streams as windows, so that state can run across windows.

Dimensions: B streams in all, R ranks, B / R streams a rank, T tokens a window, W windows an epoch.
"""

from __future__ import annotations

import torch
from torch.utils.data import Dataset


class BpttDataset(Dataset):
    """Windows for truncated backpropagation through time (BPTT).

    Item i is window i // B of stream i mod B. Read in order, every batch of B items continues the
    streams of the batch before. Accelerate deals out whole batches in turn: batch k of B / R items
    goes to rank k mod R, which sees the same streams at every step. Each epoch starts at another
    offset within the first window, drawn from the seed and the epoch, so that windows do not always
    end at the same words.

    Args:
        tokens: (N,) the text.
        batch_size: B.
        window: T.
        seed: of the offsets.

    Raises:
        ValueError: too few tokens for a single window.
    """

    def __init__(self, tokens: torch.Tensor, batch_size: int, window: int, seed: int = 0) -> None:
        self.tokens, self.batch_size, self.window, self.seed = tokens, batch_size, window, seed
        self.stream_length = (len(tokens) - 1) // batch_size
        self.windows = (self.stream_length - window + 1) // window
        if self.windows < 1:
            raise ValueError(
                f"{len(tokens)} tokens are too few for batch_size {batch_size} and windows of "
                f"{window}"
            )
        self.offset = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the offset of this epoch; accelerate's loader calls it."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        self.offset = int(torch.randint(self.window, (), generator=generator))

    def __len__(self) -> int:
        return self.batch_size * self.windows

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        window, stream = divmod(index, self.batch_size)
        first = stream * self.stream_length + self.offset + window * self.window
        tokens = self.tokens[first : first + self.window + 1]
        return {
            "input_ids": tokens[:-1],
            "labels": tokens[1:],
            "shift_labels": tokens[1:],  # Trainer then counts every one of them
            "window": torch.tensor(window),
        }
