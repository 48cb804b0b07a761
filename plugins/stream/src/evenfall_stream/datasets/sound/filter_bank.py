"""A bank of band-pass filters on the mel scale, with the level of each band every millisecond."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

FRAME = 1_000
"""Microseconds between levels."""
_SILENCE = 1e-10
"""Added to the envelope, so that silence has a level: -200 dB."""


def mel(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hz to mel: 2595 log10(1 + f / 700)."""
    return np.asarray(2595 * np.log10(1 + frequency / 700), np.float64)


def band_edges(channels: int, low: float, high: float) -> NDArray[np.float64]:
    """(channels, 2) lower and upper edges in Hz: equally wide in mel, neighbours overlap by half.

    The lowest band begins at `low` and the highest one ends at `high`.
    """
    places = np.linspace(mel(np.array(low)), mel(np.array(high)), channels + 2)
    frequencies = 700 * (10 ** (places / 2595) - 1)
    return np.stack([frequencies[:-2], frequencies[2:]], 1)


class FilterBank:
    r"""Levels of the bands of a sound, piece by piece.

    Each band is a Butterworth band-pass filter of second order (scipy.signal.butter). Its output is
    half-wave rectified and smoothed by a low-pass filter of first order to the envelope
    :math:`e_c`; the level is :math:`20 \log_{10}(e_c)` dB, every millisecond. All filters are
    causal, and their state passes from piece to piece.

    Args:
        rate: samples per second.
        channels: number of bands.
        low: lower edge of the lowest band, Hz.
        high: upper edge of the highest band, Hz.
        smoothing: time constant of the low-pass filter, seconds.

    Raises:
        ValueError: `high` is not below half the rate.
    """

    def __init__(self, rate: int, channels: int, low: float, high: float, smoothing: float) -> None:
        if not high < rate / 2:
            raise ValueError(
                f"high must be below half the sampling rate of {rate} Hz, got {high:g} Hz"
            )
        self.rate = rate
        self._bands = [
            butter(2, edges, "bandpass", fs=rate, output="sos")
            for edges in band_edges(channels, low, high)
        ]
        self._decay = np.exp(-1 / (smoothing * rate))
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._samples = 0
        self._states = [np.zeros((len(band), 2)) for band in self._bands]
        self._smooth = np.zeros((len(self._bands), 1))

    def push(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        """The next (n,) samples to (channels, frames) levels in dB; full scale is 1.

        Frame k of the sound ends at k + 1 milliseconds, with the first sample that is not earlier.
        """
        done, self._samples = self._samples, self._samples + len(samples)
        first, last = (self._frames(count) for count in (done, self._samples))
        # Rounded up: the last sample of a frame completes it, so it is never of an earlier piece.
        ends: NDArray[np.int64] = (
            -(-(np.arange(first, last) + 1) * self.rate * FRAME // 1_000_000) - 1 - done
        )
        levels = np.empty((len(self._bands), last - first))
        if not len(samples):
            return levels
        for channel, band in enumerate(self._bands):
            wave, self._states[channel] = sosfilt(band, samples, zi=self._states[channel])
            envelope, self._smooth[channel] = lfilter(
                [1 - self._decay], [1, -self._decay], np.maximum(wave, 0), zi=self._smooth[channel]
            )
            levels[channel] = 20 * np.log10(envelope[ends] + _SILENCE)
        return levels

    def _frames(self, samples: int) -> int:
        """Frames that end within so many samples."""
        return (samples * 1_000_000) // (self.rate * FRAME)
