"""Split a text into contiguous streams and each stream into windows, to carry state across them.

Dimensions: B streams in total, R ranks, B / R streams per rank, T tokens per window, W windows per
epoch.
"""

from __future__ import annotations

import torch
from torch.utils.data import Dataset


class BpttDataset(Dataset):
    """Windows for truncated backpropagation through time (BPTT).

    Item i is window i // B of stream i mod B. In order, every batch of B items continues the
    streams of the previous batch. Accelerate distributes whole batches in turn: batch k of B / R
    items goes to rank k mod R, so each rank sees the same streams at every step. Each epoch starts
    at a random offset within the first window, which depends on the seed and the epoch, so that
    windows do not always end at the same words.

    Args:
        tokens: (N,) the text.
        batch_size: B.
        window: T.
        seed: seed of the offsets.

    Raises:
        ValueError: too few tokens for one window per stream at every offset.
    """

    def __init__(self, tokens: torch.Tensor, batch_size: int, window: int, seed: int = 0) -> None:
        self.tokens, self.batch_size, self.window, self.seed = tokens, batch_size, window, seed
        self.stream_length = (len(tokens) - 1) // batch_size
        self.windows = (self.stream_length - window + 1) // window
        if self.windows < 1:
            raise ValueError(
                f"tokens must have at least {batch_size * (2 * window - 1) + 1} ids for batch_size "
                f"{batch_size} and window {window}, got {len(tokens)}"
            )
        self.offset = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the offset of this epoch. Accelerate's data loader calls this."""
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
            "shift_labels": tokens[1:],  # so that Trainer counts all of them
            "window": torch.tensor(window),
        }
