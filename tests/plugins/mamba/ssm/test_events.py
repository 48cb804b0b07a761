"""The `torch` that mamba_ssm's generation uses on a PyTorch without CUDA."""

from __future__ import annotations

import pytest
import torch

from evenfall_mamba.ssm.events import IdleEvent, torch_with_events


def test_torch_without_cuda_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    ours = torch_with_events(torch)
    assert isinstance(ours.cuda.Event(enable_timing=False), IdleEvent)
    assert ours.cat is torch.cat
    assert ours.cuda.is_available is torch.cuda.is_available
    with pytest.raises(
        RuntimeError, match="enable_timing must be False on a PyTorch without CUDA, got True"
    ):
        ours.cuda.Event(enable_timing=True)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    assert torch_with_events(torch) is torch
