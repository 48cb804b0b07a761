"""A sound is classified while it is heard, with the result of the whole sound at its end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evenfall_stream import EventStreamClassifier
from evenfall_stream.datasets.readers import Recording
from evenfall_stream.datasets.sound import SoundToEvents
from evenfall_stream.online import SoundStream, follow_sound

RATE = 8000
SAMPLES = 0.3 * np.sin(2 * np.pi * np.cumsum(np.linspace(200, 2000, 4000)) / RATE)
BANDS = {"channels": 12}


def make(**options: int) -> EventStreamClassifier:
    torch.manual_seed(0)
    sizes = {"sensor_size": (12,), "polarities": 1, **options}
    return EventStreamClassifier(3, widths=(8, 12), strides=(4, 2), d_state=4, **sizes).eval()


def test_the_last_result_is_that_of_the_whole_sound() -> None:
    model = make()
    t, channel = SoundToEvents(RATE, **BANDS).push(SAMPLES)
    data = Recording(t, channel, None, np.zeros_like(t)).to_data(0)
    with torch.no_grad():
        expected = model(data.x, data.pos)[0].double().softmax(0)
    followed = list(follow_sound(model, RATE, SAMPLES, BANDS, every=0.07))
    assert [time for time, _ in followed] == pytest.approx([0.07 * i for i in range(1, 8)] + [0.5])
    torch.testing.assert_close(followed[-1][1], expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(followed[2][1], expected, atol=1e-4)


def test_reset_forgets_the_sound() -> None:
    stream = SoundStream(make(), RATE, BANDS)
    silent = stream.probabilities()
    assert stream.push(SAMPLES) > 100
    assert not torch.equal(stream.probabilities(), silent)
    stream.reset()
    assert torch.equal(stream.probabilities(), silent)


def test_the_model_has_the_bands_of_the_sound() -> None:
    with pytest.raises(
        ValueError, match=r"model must have sensor_size \(32,\) and 1 polarity, got"
    ):
        SoundStream(make(), RATE)
    with pytest.raises(ValueError, match=r"got \(12,\) and 2"):
        SoundStream(make(polarities=2), RATE, BANDS)
    with pytest.raises(ValueError, match="every must be at least a sample"):
        next(follow_sound(make(), RATE, SAMPLES, BANDS, every=1e-5))
