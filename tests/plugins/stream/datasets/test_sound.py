"""Sound becomes events of the bands that it has, causally."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from evenfall_stream.datasets.sound import SoundToEvents, read_wav
from evenfall_stream.datasets.sound.filter_bank import band_edges


def tone(frequency: float, rate: int = 8000, seconds: float = 0.5) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("frequency", [300.0, 1000.0, 3000.0])
def test_a_tone_fires_most_in_its_band(frequency: float, rate: int) -> None:
    _, channel = SoundToEvents(rate).push(tone(frequency, rate))
    edges = band_edges(32, 100, 3800)
    low, high = edges[np.bincount(channel, minlength=32).argmax()]
    assert low < frequency < high


def test_the_loudest_band_fires_at_the_rate() -> None:
    t, channel = SoundToEvents(8000, rate=100).push(tone(1000))
    late = channel[t > 100_000]
    assert abs(np.bincount(late).max() - 40) <= 1  # 0.4 s at 100 Hz


@pytest.mark.parametrize(("rate", "ends"), [(8000, [1, 5, 900, 901, 2000]),
                                            (22050, [1, 22, 44, 66, 110, 661, 2204])])  # fmt: skip
def test_pieces_give_the_events_of_the_whole(rate: int, ends: list[int]) -> None:
    sound = np.random.default_rng(0).normal(size=3001) * np.linspace(0, 0.3, 3001)
    whole = SoundToEvents(rate).push(sound)
    stream = SoundToEvents(rate)
    pieces = [stream.push(piece) for piece in np.split(sound, ends)]
    for at in (0, 1):
        assert np.array_equal(np.concatenate([piece[at] for piece in pieces]), whole[at])
    assert len(whole[0]) > 100
    assert (np.diff(whole[0]) >= 0).all()


def test_volume_does_not_change_the_events_of_loud_sound() -> None:
    loud, quiet = (SoundToEvents(8000).push(gain * tone(700))[1] for gain in (1.0, 0.2))
    assert abs(len(loud) - len(quiet)) < 0.1 * len(loud)


def test_silence_has_no_events() -> None:
    assert len(SoundToEvents(8000).push(np.zeros(4000))[0]) == 0


def test_a_band_above_half_the_rate_is_an_error() -> None:
    with pytest.raises(ValueError, match="high must be below half the sampling rate"):
        SoundToEvents(6000)


def test_wav_files_are_scaled_to_full_scale(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "a.wav", 8000, np.array([[-32768, 0], [16384, 16384]], np.int16))
    rate, samples = read_wav(tmp_path / "a.wav")
    assert rate == 8000
    assert samples.tolist() == [-0.5, 0.5]


def test_a_file_that_is_cut_off_is_an_error() -> None:
    file = io.BytesIO()
    wavfile.write(file, 8000, np.zeros(100, np.int16))
    with pytest.raises(ValueError, match="cannot be read as WAV"):
        read_wav(file.getvalue()[:120])


def test_spoken_digits_leave_a_speaker_out(tmp_path: Path) -> None:
    pytest.importorskip("torch_geometric")
    from evenfall_stream.datasets import SpokenDigits

    for number in range(10):
        for who in ("ann", "bob"):
            raw = (tone(400 + 50 * number) * 32767).astype(np.int16)
            wavfile.write(tmp_path / f"3_{who}_{number}.wav", 8000, raw)
    assert len(SpokenDigits(tmp_path, "test")) == 10
    left_out = SpokenDigits(tmp_path, "test", speaker="bob")
    assert len(left_out) == 10
    assert all("bob" in name for name in left_out.names)
    sizes = [len(SpokenDigits(tmp_path, split, speaker="bob")) for split in ("train", "valid")]
    assert sizes == [9, 1]
    assert left_out[0].pos.shape[1] == 2
    assert left_out[0].y.tolist() == [3]
    with pytest.raises(ValueError, match="speaker must be one of"):
        SpokenDigits(tmp_path, "test", speaker="eve")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "3_ann_0.wav").write_bytes(b"another one")
    with pytest.raises(ValueError, match=r"contains 3_ann_0\.wav twice"):
        SpokenDigits(tmp_path, "test")


def test_a_damaged_recording_is_named(tmp_path: Path) -> None:
    pytest.importorskip("torch_geometric")
    from evenfall_stream.datasets import SpokenDigits

    (tmp_path / "3_ann_0.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"3_ann_0\.wav cannot be read as WAV"):
        SpokenDigits(tmp_path, "test")[0]
