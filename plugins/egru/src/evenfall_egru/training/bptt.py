"""Split a text into contiguous streams and each stream into windows, to carry state across them.

Dimensions: B streams in total, R ranks, B / R streams per rank, T tokens per window, W windows per
epoch.
"""

from __future__ import annotations

import torch
from torch.utils.data import Dataset

_LEAST = 5  # tokens of a window of random length, as in AWD-LSTM


class BpttDataset(Dataset):
    """Windows for truncated backpropagation through time (BPTT).

    Item i is window i // B of stream i mod B. In order, every batch of B items continues the
    streams of the previous batch. Accelerate distributes whole batches in turn: batch k of B / R
    items goes to rank k mod R, so each rank sees the same streams at every step.

    Windows of one length begin at a random offset within the first window, windows of random
    lengths at the start of the stream. Both depend on the seed and the epoch, so that windows do
    not always end at the same words.

    Args:
        tokens: (N,) the text.
        batch_size: B.
        window: T, the usual length.
        seed: seed of the offsets and lengths.
        jitter: standard deviation of the length, in tokens.
        short_windows: share of windows of half the usual length.

    Raises:
        ValueError: too few tokens for one window per stream at every offset.

    Source of the random lengths: Merity et al., Regularizing and optimizing LSTM language models,
    ICLR 2018, arXiv 1708.02182.
    """

    def __init__(
        self,
        tokens: torch.Tensor,
        batch_size: int,
        window: int,
        seed: int = 0,
        *,
        jitter: float = 0.0,
        short_windows: float = 0.0,
    ) -> None:
        self.tokens, self.batch_size, self.window, self.seed = tokens, batch_size, window, seed
        self.jitter, self.short_windows = jitter, short_windows
        self.stream_length = (len(tokens) - 1) // batch_size
        windows = (self.stream_length - window + 1) // window
        if windows < 1:
            raise ValueError(
                f"tokens must have at least {batch_size * (2 * window - 1) + 1} ids for batch_size "
                f"{batch_size} and window {window}, got {len(tokens)}"
            )
        mean = window * (1 - short_windows / 2)
        if self.has_random_lengths:
            windows = min(int(self.stream_length / mean), self.stream_length)
        self.windows = windows
        self.bounds = [window * index for index in range(self.windows + 1)]

    @property
    def has_random_lengths(self) -> bool:
        """Whether windows differ in length."""
        return bool(self.jitter or self.short_windows)

    def set_epoch(self, epoch: int) -> None:
        """Set the windows of this epoch. Accelerate's data loader calls this."""
        self.bounds = self.bounds_of(epoch)

    def bounds_of(self, epoch: int) -> list[int]:
        """Where the windows of an epoch begin in a stream, and where the last one ends.

        Random lengths are scaled together, by about 1 %, so that the same number of windows covers
        the stream in every epoch. Each has at least one token.
        """
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        if not self.has_random_lengths:
            offset = int(torch.randint(self.window, (), generator=generator))
            return [offset + self.window * index for index in range(self.windows + 1)]
        is_short = torch.rand(self.windows, generator=generator) < self.short_windows
        lengths = torch.randn(self.windows, generator=generator, dtype=torch.float64) * self.jitter
        lengths += torch.where(is_short, self.window / 2, float(self.window))
        ends = lengths.clamp(min=min(_LEAST, self.window)).cumsum(0)
        more = (ends * ((self.stream_length - self.windows) / ends[-1])).round().int()
        return [0, *(more + torch.arange(1, self.windows + 1)).tolist()]  # one token, and more

    def __len__(self) -> int:
        return self.batch_size * self.windows

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        window, stream = divmod(index, self.batch_size)
        first, last = (stream * self.stream_length + b for b in self.bounds[window : window + 2])
        tokens = self.tokens[first : last + 1]
        return {
            "input_ids": tokens[:-1],
            "labels": tokens[1:],
            "shift_labels": tokens[1:],  # so that Trainer counts all of them
            "window": torch.tensor(window),
        }
