"""RigL and Deep Rewiring keep the number of weights, and grow where they say."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from evenfall_sparsity import DeepRewiring, RigL, prune, release_masks
from evenfall_sparsity.pruning.masks import masks_of


def removed_of(model: Any) -> dict[str, Any]:
    return {name: mask.removed.clone() for name, mask in masks_of(model).items()}


@pytest.mark.parametrize("block", [(1, 1), (1, 4)])
def test_rigl_keeps_the_number_of_blocks(
    model: Any, optimizer: Any, train: Any, block: Any
) -> None:
    rigl = RigL(0.75, every=2, end=1.0, block=block)
    rigl.prepare(model)
    first = removed_of(model)
    assert {n: int(m.sum()) for n, m in first.items()} == {"0.weight": 144, "2.weight": 96}
    train(model, optimizer, rigl, 1, 6, 10)
    last = removed_of(model)
    for name in first:
        assert first[name].sum() == last[name].sum()
        assert not torch.equal(first[name], last[name])
    for i in (0, 2):
        assert (model[i].weight[last[f"{i}.weight"]] == 0).all()
    if block == (1, 4):
        groups = last["0.weight"].unflatten(0, (-1, 4)).sum(1)
        assert set(groups.unique().tolist()) == {0, 4}


def test_rigl_keeps_single_zeros_inside_of_blocks(model: Any, optimizer: Any, train: Any) -> None:
    prune(model, 0.5, method="random")
    rigl = RigL(0.5, every=1, end=1.0, block=(1, 4))
    rigl.prepare(model)
    first = removed_of(model)["0.weight"].unflatten(0, (-1, 4))
    train(model, optimizer, rigl, 1, 1, 10)
    last = removed_of(model)["0.weight"].unflatten(0, (-1, 4))
    stayed = (~first.all(1) & ~last.all(1))[:, None].expand_as(first)
    assert first[stayed].any()
    assert torch.equal(last[stayed], first[stayed])


def test_rigl_drops_the_smallest_and_grows_the_largest_gradients(model: Any) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    rigl = RigL(0.5, every=1, end=100, fraction=0.25, include="0.weight")
    rigl.prepare(model)
    weight, removed = model[0].weight, removed_of(model)["0.weight"]
    x = torch.randn(16, 12)
    dense = copy.deepcopy(model)
    release_masks(dense)
    (gradient,) = torch.autograd.grad(dense(x).square().mean(), dense[0].weight)
    model(x).square().mean().backward()
    assert (weight.grad[removed] == 0).all()
    optimizer.step()
    rigl.step(1, 100, optimizer)
    now, k = removed_of(model)["0.weight"], round(0.25 / 2 * (1 + 0.99950656) * 96)
    dropped = torch.where(removed, torch.inf, dense[0].weight.abs()).flatten().argsort()[:k]
    assert sorted((now & ~removed).flatten().nonzero().flatten().tolist()) == sorted(
        dropped.tolist()
    )
    grown = torch.where(removed, gradient.abs(), -1).flatten().argsort(descending=True)[:k]
    assert sorted((removed & ~now).flatten().nonzero().flatten().tolist()) == sorted(grown.tolist())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_rigl_waits_where_a_gradient_is_not_finite(model: Any, optimizer: Any, value: Any) -> None:
    rigl = RigL(0.5, every=1, end=1.0)
    rigl.prepare(model)
    before = removed_of(model)
    (model(torch.randn(4, 12)).sum() * value).backward()
    model.zero_grad()  # a scaler would skip the step
    rigl.step(1, 10, optimizer)
    assert all(torch.equal(before[name], mask) for name, mask in removed_of(model).items())


def test_rigl_stops_at_its_end(model: Any, optimizer: Any, train: Any) -> None:
    rigl = RigL(0.5, every=1, end=3, initial="magnitude", scope="global")
    rigl.prepare(model)
    train(model, optimizer, rigl, 1, 3, 10)
    before = removed_of(model)
    train(model, optimizer, rigl, 4, 8, 10)
    after = removed_of(model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_rewiring_keeps_the_number_and_the_signs(model: Any, optimizer: Any, train: Any) -> None:
    rewiring = DeepRewiring(0.75, l1=0.1, temperature=1e-2)
    rewiring.prepare(model)
    first = removed_of(model)
    train(model, optimizer, rewiring, 1, 10, 10)
    last = removed_of(model)
    for i in (0, 2):
        name = f"{i}.weight"
        assert first[name].sum() == last[name].sum()
        assert not torch.equal(first[name], last[name])
        signs = rewiring.state_dict()["signs"][name]
        assert (model[i].weight.sign() * signs >= 0)[~last[name]].all()
        assert (signs[~last[name]] != 0).all()


def test_rewiring_moves_weights_by_penalty_and_learning_rate() -> None:
    model = nn.Linear(4, 2, bias=False)
    nn.init.constant_(model.weight, -0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rewiring = DeepRewiring(0.5, l1=0.2)
    rewiring.prepare(model)
    rewiring.step(1, 10, optimizer)
    kept = model.weight[model.weight != 0]
    assert kept.tolist() == pytest.approx([-0.48] * 4)


@pytest.mark.parametrize("kind", ["rigl", "rewiring"])
def test_resumed_run_equals_one_that_never_stopped(model: Any, train: Any, kind: str) -> None:
    def make() -> Any:
        if kind == "rigl":
            return RigL(0.75, every=2, end=1.0)
        return DeepRewiring(0.75, l1=0.1, temperature=1e-2)

    def start(copied: Any) -> Any:
        callback = make()
        callback.prepare(copied)
        return callback, torch.optim.AdamW(copied.parameters(), lr=0.01)

    whole = copy.deepcopy(model)
    callback, optimizer = start(whole)
    train(whole, optimizer, callback, 1, 8, 10)
    first, first_optimizer = start(model)
    train(model, first_optimizer, first, 1, 5, 10)
    resumed = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 8))
    second, second_optimizer = start(resumed)
    resumed.load_state_dict(model.state_dict())
    second_optimizer.load_state_dict(first_optimizer.state_dict())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(resumed, second_optimizer, second, 6, 8, 10)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (RigL, {"fraction": 2}, "fraction must be from 0 to 1, got 2"),
        (RigL, {"initial": "snip"}, "initial must be one of"),
        (RigL, {"every": 1.5}, "every must be an integer of at least 1, got 1.5"),
        (DeepRewiring, {"l1": -1}, "l1 must be at least 0 and finite, got -1"),
        (DeepRewiring, {"l1": True}, "l1 must be at least 0 and finite, got True"),
        (DeepRewiring, {"temperature": float("inf")}, "temperature must be at least 0 and finite"),
        (DeepRewiring, {"seed": True}, r"seed must be an integer .* got True"),
        (RigL, {"seed": -1}, r"seed must be an integer .* got -1"),
    ],
)
def test_wrong_arguments(kind: Any, options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kind(0.5, **options)


def test_rewiring_of_a_transposed_weight() -> None:
    model = nn.Linear(8, 4, bias=False)
    model.weight = nn.Parameter(torch.randn(8, 4).t())
    rewiring = DeepRewiring(0.5, l1=10.0)
    rewiring.prepare(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model(torch.ones(1, 8)).sum().backward()
    optimizer.step()
    rewiring.step(1, 5, optimizer)
    assert int(rewiring.mask(rewiring.targets[0]).removed.sum()) == 16
