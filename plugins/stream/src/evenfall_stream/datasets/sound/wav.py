"""WAV files as samples between -1 and 1."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile


def read_wav(
    source: str | Path | bytes, name: str = "the sound"
) -> tuple[int, NDArray[np.float64]]:
    """Read a WAV file: (samples per second, (n,) samples), the mean of the file's channels.

    Integers are divided by their full scale, 2 ** (bits - 1); floating-point samples stay.

    Args:
        source: a file, or its contents.
        name: of the contents, for messages.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no WAV file, it is cut off or compressed, or a sample is not finite.
    """
    contents = source if isinstance(source, bytes) else Path(source).read_bytes()
    name = name if isinstance(source, bytes) else str(source)
    try:
        with warnings.catch_warnings():
            # Chunks with titles and the like are skipped; a file that is cut off is refused.
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            warnings.filterwarnings("error", "Reached EOF prematurely")
            rate, samples = wavfile.read(io.BytesIO(contents))
    except (ValueError, struct.error, EOFError, UnboundLocalError, wavfile.WavFileWarning) as error:
        raise ValueError(f"{name} cannot be read as WAV: {error}") from error
    if samples.dtype == np.uint8:
        wave = samples.astype(np.float64) / 128 - 1
    elif samples.dtype.kind == "i":
        wave = samples / -float(np.iinfo(samples.dtype).min)
    else:
        wave = samples.astype(np.float64)
    if not np.isfinite(wave).all():
        raise ValueError(f"{name} must have finite samples, got NaN or infinity")
    return int(rate), wave if wave.ndim == 1 else wave.mean(1)
