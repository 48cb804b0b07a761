"""What a nearest neighbour on log-mel images makes of the Free Spoken Digit Dataset.

    python tests/benchmarks/digits_neighbour.py DATA/fsdd/recordings.zip

The power of 24 bands that are equally wide in mel up to 4 kHz, in windows of 25 ms, at 20 times
evenly over the recording; its logarithm, less its mean, over its length. For the data set's own
split and for each speaker left out. Nothing is trained or chosen.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
from scipy.signal import stft

from evenfall_stream.datasets import SpokenDigits
from evenfall_stream.datasets.sound import read_wav

BANDS, TIMES, RATE = 24, 20, 8000
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


def mel_filters(bins: int) -> np.ndarray:
    """(bands, bins) triangles."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    hertz = np.linspace(0, RATE / 2, bins)
    up = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    down = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    return np.clip(np.minimum(up, down), 0, None)


def image(samples: np.ndarray) -> np.ndarray:
    """The image of a recording, (bands x times,) of length 1."""
    window = min(200, len(samples))
    _, _, spectrum = stft(samples, RATE, nperseg=window, noverlap=window * 3 // 5, nfft=256)
    power = mel_filters(spectrum.shape[0]) @ np.abs(spectrum) ** 2
    times = np.linspace(0, power.shape[1] - 1, TIMES).round().astype(int)
    log = np.log(power[:, times] + 1e-10).ravel()
    log -= log.mean()
    return log / max(float(np.linalg.norm(log)), 1e-9)


def accuracy(images: dict[str, np.ndarray], data: str, speaker: str | None) -> float:
    """Of the test split, by the nearest example of the others."""
    tested = set(SpokenDigits(data, "test", speaker).names)
    known = [name for name in images if name not in tested]
    table = np.stack([images[name] for name in known])
    right = [known[int((table @ images[name]).argmax())][0] == name[0] for name in tested]
    return float(np.mean(right))


def main() -> None:
    """Print the accuracies."""
    data = sys.argv[1]
    with zipfile.ZipFile(data) as archive:
        files = {Path(name).stem: archive.read(name) for name in archive.namelist()}
    images = {name: image(read_wav(content, name)[1]) for name, content in files.items() if content}
    print(f"own split: {accuracy(images, data, None):.1%}")
    left = [accuracy(images, data, speaker) for speaker in SPEAKERS]
    for speaker, one in zip(SPEAKERS, left, strict=True):
        print(f"{speaker} left out: {one:.1%}")
    print(f"mean: {np.mean(left):.1%}")


if __name__ == "__main__":
    main()
