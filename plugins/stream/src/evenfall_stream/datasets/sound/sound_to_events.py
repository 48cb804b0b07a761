"""Sound to events: a bank of filters, gain control, and a neuron for each band."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from evenfall.checks import check_integer, check_number

from .filter_bank import FRAME, FilterBank


class SoundToEvents:
    r"""Turn sound into events of channels, piece by piece.

    A :class:`FilterBank` gives the level :math:`L_c` of each band in dB every millisecond. A gain
    control follows the loudest band, :math:`M(t) = \max(M_0, \max_{s \le t} (\max_c L_c(s) -
    \mathrm{recovery} (t - s)))`, so that the events do not depend on the volume of sounds louder
    than :math:`M_0`. Each band then has an integrate-and-fire neuron of the rate

    .. math:: r_c = \mathrm{rate} \cdot \mathrm{clip}\bigl(1 + (L_c - M) / \mathrm{span}, 0,
        1\bigr)^2

    which sends an event whenever its integral passes another integer. Everything is causal: the
    events of a sound in pieces are those of the whole sound.

    Args:
        sampling_rate: samples per second.
        channels: number of bands, equally wide in mel.
        low: lower edge of the lowest band, Hz.
        high: upper edge of the highest band, Hz, below half the sampling rate.
        smoothing: time constant of the envelope, seconds.
        span: range of levels below the loudest that give events, dB.
        quietest: M_0, dB relative to full scale.
        recovery: how fast the gain control forgets, dB per second.
        rate: events per second of the loudest band, at most 1,000.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self, sampling_rate: int, *, channels: int = 32, low: float = 100.0, high: float = 3800.0,
        smoothing: float = 0.008, span: float = 40.0, quietest: float = -60.0,
        recovery: float = 20.0, rate: float = 150.0,
    ) -> None:  # fmt: skip
        check_integer("channels", channels, 1)
        for name, value in (("low", low), ("high", high), ("smoothing", smoothing), ("span", span)):
            check_number(name, value, above=True)
        if not low < high:
            raise ValueError(f"low must be below high, got {low} and {high}")
        check_number("quietest", quietest, -math.inf, above=True)
        check_number("recovery", recovery)
        check_number("rate", rate, above=True)
        if not rate <= 1_000_000 / FRAME:
            raise ValueError(f"rate must be in (0, {1_000_000 // FRAME}] Hz, got {rate}")
        self.channels, self.span, self.quietest = channels, span, quietest
        self.recovery, self.rate = recovery * FRAME / 1e6, rate * FRAME / 1e6
        self.bank = FilterBank(sampling_rate, channels, low, high, smoothing)
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self.bank.reset()
        self._frames = 0
        self._loudest = -np.inf
        self._charge = np.full((self.channels, 1), 0.5)

    def push(self, samples: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The next (n,) samples, full scale 1, to the times (us) and channels of their events.

        The times count from the first sample, do not decrease, and go on from piece to piece.

        Raises:
            ValueError: samples are not finite or not of shape (n,).
        """
        samples = np.asarray(samples, np.float64)
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise ValueError(f"samples must be finite, of shape (n,), got {samples.shape}")
        levels = self.bank.push(samples)
        frames: NDArray[np.int64] = self._frames + np.arange(levels.shape[1])
        self._frames += len(frames)
        if not len(frames):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        # A maximum that decays linearly is a plain maximum in a frame that falls with it.
        rising = levels.max(0) + self.recovery * frames
        rising[0] = max(rising[0], self._loudest)
        rising = np.maximum.accumulate(rising)
        self._loudest = float(rising[-1])
        loudest = np.maximum(rising - self.recovery * frames, self.quietest)
        drive = self.rate * np.clip(1 + (levels - loudest) / self.span, 0, 1) ** 2
        charge = np.cumsum(np.concatenate([self._charge, drive], 1), 1)
        self._charge = charge[:, -1:]
        fired, channels = np.nonzero(np.diff(np.floor(charge), axis=1).T > 0)
        return (frames[fired] + 1) * FRAME, channels
