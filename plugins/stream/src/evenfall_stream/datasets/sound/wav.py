"""WAV files as samples between -1 and 1."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

_ERRORS = (ValueError, struct.error, EOFError, ZeroDivisionError)


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
            if not len(samples):
                _check_chunks(contents)
    except UnboundLocalError:
        raise ValueError(f"{name} cannot be read as WAV: its length says it has no data") from None
    except (*_ERRORS, wavfile.WavFileWarning) as error:
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


def _check_chunks(contents: bytes) -> None:
    """Refuse samples after a chunk of data that says it has none, as recorders leave it that stop
    before they write its length.

    Raises:
        ValueError: what follows is not a chunk.
    """
    number = ">4sI" if contents.startswith(b"RIFX") else "<4sI"
    at = 12
    while len(contents) - at >= 8:
        name, size = struct.unpack_from(number, contents, at)
        if not name.decode("latin-1").isprintable():
            raise ValueError(
                f"it says that it has no samples, but {len(contents) - at:,} bytes follow"
            )
        at += 8 + size + size % 2
