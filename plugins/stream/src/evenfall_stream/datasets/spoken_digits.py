"""The Free Spoken Digit Dataset as event recordings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch_geometric.data import Data, Dataset

from evenfall.checks import check_choice
from evenfall.errors import shorten

from .archives import read_files
from .readers import Recording
from .sound import SoundToEvents, read_wav

SPLITS = ("train", "valid", "test")
_TESTED = 5
"""The recordings of each speaker and digit with a lower number are the data set's own test."""


class SpokenDigits(Dataset):
    """Spoken digits as Data(x=(N, 1) zeros, pos=(N, 2) time in ms and channel, y=(1,) class).

    Without `speaker` the split is the data set's own: numbers 0 to 4 of each speaker and digit are
    test. With `speaker`, all recordings of that speaker are test and all others train. `valid` is a
    fixed tenth of the others, those with the lowest hash of the file name. A recording is
    converted when it is first read.

    Args:
        path: folder or archive with files DIGIT_SPEAKER_NUMBER.wav.
        split: train, valid or test.
        speaker: None, or the speaker to leave out.
        sound: keyword arguments of SoundToEvents.
        transform: applied to each item on access.

    Raises:
        FileNotFoundError: no such path, or it has no recordings.
        ValueError: unknown split, speaker or option of SoundToEvents; a file name of another form,
            or one that occurs twice.

    Source: github.com/Jakobovski/free-spoken-digit-dataset.
    """

    classes = tuple("0123456789")

    def __init__(
        self, path: str | Path, split: str = "train", speaker: str | None = None,
        sound: dict[str, Any] | None = None, transform: Callable[[Data], Data] | None = None,
    ) -> None:  # fmt: skip
        check_choice("split", split, SPLITS)
        super().__init__(None, transform)
        self.sound = dict(sound or {})
        try:
            SoundToEvents(48_000, **self.sound)
        except TypeError as error:
            raise ValueError(f"sound: {error}") from None
        files: dict[str, bytes] = {}
        for name, raw in read_files(Path(path), (".wav",)):
            if name.stem in files:
                raise ValueError(f"{path} contains {name.name} twice")
            files[name.stem] = raw
        if not files:
            raise FileNotFoundError(f"{path} contains no .wav files")
        speakers = sorted({_parts(stem)[1] for stem in files})
        if speaker is not None and speaker not in speakers:
            raise ValueError(f"speaker must be one of {speakers}, got {shorten(speaker)}")
        tested = {stem for stem in files if _is_test(stem, speaker)}
        ranked = sorted(set(files) - tested, key=_rank)
        valid = set(ranked[: round(len(ranked) / 10)])
        chosen = {"test": tested, "valid": valid, "train": set(ranked) - valid}[split]
        self.names = sorted(chosen)
        self._files = [files[stem] for stem in self.names]
        self._converted: dict[int, Recording] = {}

    @property
    def num_classes(self) -> int:
        """Ten."""
        return len(self.classes)

    def len(self) -> int:
        """Number of recordings of the split."""
        return len(self.names)

    def get(self, idx: int) -> Data:
        """The recording before `transform`."""
        recording, label = self._convert(idx)
        return recording.to_data(label)

    def recording(self, index: int) -> tuple[Recording, int]:
        """The raw recording and the class of the item at `index`."""
        return self._convert(self.indices()[index])

    def _convert(self, number: int) -> tuple[Recording, int]:
        if number not in self._converted:
            rate, samples = read_wav(self._files[number], f"{self.names[number]}.wav")
            t, channel = SoundToEvents(rate, **self.sound).push(samples)
            self._converted[number] = Recording(t, channel, None, np.zeros_like(t))
        return self._converted[number], int(_parts(self.names[number])[0])


def _parts(stem: str) -> list[str]:
    parts = stem.split("_")
    if len(parts) != 3 or parts[0] not in SpokenDigits.classes or not parts[2].isdecimal():
        raise ValueError(f"a file must be named DIGIT_SPEAKER_NUMBER.wav, got {stem}.wav")
    return parts


def _is_test(stem: str, speaker: str | None) -> bool:
    _, who, number = _parts(stem)
    return int(number) < _TESTED if speaker is None else who == speaker


def _rank(stem: str) -> bytes:
    return hashlib.sha256(f"digits {stem}".encode()).digest()
