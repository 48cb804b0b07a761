"""Training computes without denormal numbers, and leaves the setting as it was."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from evenfall_egru.training.denormals import flushed_denormals


def tiny() -> float:
    return float(torch.full((1,), 1e-38) * 0.01)


def test_the_setting_is_restored_also_if_it_was_on() -> None:
    if not torch.set_flush_denormal(False):
        pytest.skip("this CPU cannot flush denormal numbers")
    with flushed_denormals():
        assert tiny() == 0
        with flushed_denormals():
            assert tiny() == 0
        assert tiny() == 0
    assert tiny() > 0
