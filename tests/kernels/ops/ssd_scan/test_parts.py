"""Threads take parts of the heads: parts that share a group add up to its gradients."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

from evenfall import use_backend
from evenfall_kernels import ssd_scan
from evenfall_kernels.ops.ssd_scan import cpu

from .cases import CASES


def _gradients(name: str) -> tuple[torch.Tensor, ...]:
    p = CASES[name](torch.float32, "cpu")
    leaves = [
        t.requires_grad_() for t in p.values() if torch.is_tensor(t) and t.dtype.is_floating_point
    ]
    with use_backend("cpu"):
        y, last = ssd_scan(**p, return_last_state=True)
    return y, *torch.autograd.grad(y.square().sum() + last.sum(), leaves)


@pytest.mark.parametrize("name", ["groups", "130", "packed, groups"])
def test_parts_of_the_heads_equal_all_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _gradients(name)

    def in_parts(fill: Callable[[int, int], None], size: int, *_: int) -> None:
        for ends in reversed([*pairwise((0, 1, size - 1, size))]):
            fill(*ends)

    monkeypatch.setattr(cpu, "run_split", in_parts)
    torch.testing.assert_close(_gradients(name), whole, rtol=1e-5, atol=1e-5)
