"""The loss without logits equals the usual one, in value and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from evenfall_egru.models.loss_egru import chunked_cross_entropy


def random_case(batch: int, time: int, width: int = 7, words: int = 23) -> tuple[Any, ...]:
    """hidden, weight and bias in double precision, and labels, some of them ignored."""
    g = torch.Generator().manual_seed(batch * time)
    kind = {"generator": g, "dtype": torch.float64}
    leaves = [torch.randn(*s, **kind) for s in ((batch, time, width), (words, width), (words,))]
    labels = torch.randint(words, (batch, time), generator=g)
    labels[torch.rand(batch, time, generator=g) < 0.2] = -100
    labels[0, -1] = 3
    return [leaf.requires_grad_() for leaf in leaves], labels


# A block has 256 rows: fewer, exactly 256, one more, several blocks.
@pytest.mark.parametrize(("batch", "time"), [(1, 2), (2, 128), (1, 258), (3, 301)])
@pytest.mark.parametrize("items", [None, 12, torch.tensor(50)])
def test_equals_cross_entropy(batch: int, time: int, items: Any) -> None:
    (hidden, weight, bias), labels = random_case(batch, time)
    logits = (hidden @ weight.t() + bias)[:, :-1].flatten(0, 1)
    targets = labels[:, 1:].flatten()
    want = cross_entropy(logits, targets, reduction="mean" if items is None else "sum")
    want = want if items is None else want / items
    got = chunked_cross_entropy(hidden, weight, bias, labels, num_items_in_batch=items)
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=0)
    leaves = (hidden, weight, bias)
    for ours, theirs in zip(
        torch.autograd.grad(3 * got, leaves), torch.autograd.grad(3 * want, leaves), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_shifted_labels_and_another_ignored_index() -> None:
    (hidden, weight, bias), labels = random_case(2, 9)
    targets = labels.masked_fill(labels == -100, 5)
    got = chunked_cross_entropy(hidden, weight, bias, labels, shift_labels=targets, ignore_index=5)
    logits = (hidden @ weight.t() + bias).flatten(0, 1)
    want = cross_entropy(logits, targets.flatten(), ignore_index=5)
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=0)


@pytest.mark.parametrize("sizes", [[20, 12], [20, 16]], ids=["tied", "projected"])
def test_skip_logits(make_egru: Callable[..., Any], ids: torch.Tensor, sizes: list[int]) -> None:
    model = make_egru(hidden_sizes=sizes)
    labels = ids.clone()
    labels[1, :6] = -100
    losses, gradients = [], []
    for skip in (False, True):
        model.zero_grad()
        out = model(ids, labels=labels, skip_logits=skip, num_items_in_batch=40)
        out.loss.backward()
        assert (out.logits is None) is skip
        losses.append(out.loss.detach())
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters()})
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-6, atol=0)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_labels_of_another_shape_are_named() -> None:
    leaves, labels = random_case(1, 5)
    with pytest.raises(ValueError, match=r"^labels must have shape \(1, 5\), got \(1, 4\)"):
        chunked_cross_entropy(*leaves, labels[:, :4])
    with pytest.raises(ValueError, match=r"shift_labels must have shape \(1, 5\), got \(1, 1\)"):
        chunked_cross_entropy(*leaves, labels, shift_labels=labels[:, -1:])


def test_skip_logits_without_labels_gives_logits(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    out = make_egru()(ids, skip_logits=True)
    assert out.loss is None
    assert out.logits.shape == (3, 17, 41)


def test_gradients_in_bfloat16_are_summed_in_float32() -> None:
    """Over the 21 blocks; a sum in bfloat16 is wrong by 0.009."""
    g = torch.Generator().manual_seed(0)
    leaves = [
        torch.randn(*shape, generator=g).bfloat16().requires_grad_()
        for shape in ((1, 5121, 7), (23, 7), (23,))
    ]
    labels = torch.randint(23, (1, 5121), generator=g)
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    logits = exact[0][0, :-1] @ exact[1].t() + exact[2]
    want = torch.autograd.grad(cross_entropy(logits, labels[0, 1:]), exact[1:])
    got = torch.autograd.grad(chunked_cross_entropy(*leaves, labels), leaves[1:])
    for ours, theirs in zip(got, want, strict=True):
        assert ours.dtype == torch.bfloat16
        assert float((ours - theirs).abs().max() / theirs.abs().max()) < 0.005


def test_a_second_derivative_is_refused() -> None:
    """It would lack what the loss's own gradient contributes."""
    leaves, labels = random_case(1, 5)
    loss = chunked_cross_entropy(*leaves, labels)
    with pytest.raises(RuntimeError, match="first derivatives only; use skip_logits=False"):
        torch.autograd.grad(loss, leaves[0], create_graph=True)


def test_evaluation_multiplies_once() -> None:
    """Gradients that nobody reads are not computed."""
    (hidden, weight, bias), labels = random_case(1, 200)
    products = []

    class Products(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any, kwargs: Any = None) -> Any:
            products.append(func is torch.ops.aten.mm.default)
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Products():
        loss = chunked_cross_entropy(hidden, weight, bias, labels)
    assert sum(products) == 1
    assert torch.equal(loss, chunked_cross_entropy(hidden, weight, bias, labels).detach())


def test_nothing_to_predict_has_no_gradient(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    """All labels are ignored: with num_items_in_batch the loss is 0, as in transformers."""
    model = make_egru()
    labels = torch.full_like(ids, -100)
    loss = model(ids, labels=labels, skip_logits=True, num_items_in_batch=10).loss
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)
