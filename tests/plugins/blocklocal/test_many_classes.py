"""The chunked cross-entropy against torch's, in float64."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from evenfall_blocklocal import many_classes
from evenfall_blocklocal.many_classes import linear_cross_entropy


@pytest.mark.parametrize("scores", [1, 40, 10_000])
def test_loss_and_gradients_are_those_of_cross_entropy(scores: int, monkeypatch) -> None:
    monkeypatch.setattr(many_classes, "_SCORES", scores)
    tensors = [torch.randn(shape, dtype=torch.float64) * 9 for shape in ((7, 3), (11, 3), (11,))]
    target = torch.tensor([0, 10, 3, 3, 7, 1, 0])
    found, wanted = ([t.clone().requires_grad_() for t in tensors] for _ in range(2))
    a, b, c = wanted
    reference = F.cross_entropy(a @ b.t() + c, target)
    (3 * reference).backward()
    loss = linear_cross_entropy(*found, target)
    (3 * loss).backward()
    torch.testing.assert_close(loss, reference)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(*found, target), reference)


def test_a_row_far_from_its_class_has_a_finite_loss() -> None:
    a = torch.tensor([[300.0]], requires_grad=True)
    b, c = torch.tensor([[1.0], [-1.0]]), torch.zeros(2)
    loss = linear_cross_entropy(a, b, c, torch.tensor([1]))
    loss.backward()
    assert float(loss) == pytest.approx(600)
    assert float(a.grad) == pytest.approx(2)


def test_half_precision_is_summed_in_float32() -> None:
    a, b = torch.randn(6, 4).bfloat16().requires_grad_(), torch.randn(9, 4).bfloat16()
    target = torch.arange(6)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(a, b, torch.zeros(9), target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, F.cross_entropy(a.float() @ b.float().t(), target))
    loss.backward()
    assert a.grad.dtype == torch.bfloat16
