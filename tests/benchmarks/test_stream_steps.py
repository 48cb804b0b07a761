"""stream_steps.py changes what a layer decays over, and nothing else, and puts it back."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")
pytest.importorskip("accelerate")
pytest.importorskip("timm")


def test_only_the_steps_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    bench = importlib.import_module("stream_steps")
    from evenfall_stream import StreamConv

    torch.manual_seed(0)
    measured = StreamConv(4, 4)
    learned = StreamConv(4, 4, step="learned")
    x, pos = torch.randn(30, 4), torch.randn(30, 3)
    before = measured(x, pos), learned(x, pos)
    with bench.steps(bench.CHANGES["as measured"]):
        torch.testing.assert_close(measured(x, pos), before[0])
    for name in ("shuffled", "their mean", "zero"):
        with bench.steps(bench.CHANGES[name]):
            assert not torch.allclose(measured(x, pos), before[0])
            torch.testing.assert_close(learned(x, pos), before[1])
    torch.testing.assert_close(measured(x, pos), before[0])
