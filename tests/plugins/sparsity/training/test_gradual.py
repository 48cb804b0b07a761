"""Gradual pruning: schedule, exact counts, movement, penalty, state."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.optim.swa_utils import AveragedModel

from evenfall_sparsity import DeepRewiring, GradualPruning, RigL, prune
from evenfall_sparsity.training.schedule import cubic

N = 12 * 16 + 16 * 8


def count(zeros: Any) -> list[int]:
    return [sum(int(one.sum()) for one in step) for step in zeros]


def test_schedule_is_cubic() -> None:
    assert [cubic(step, 10, 20, 0.1, 0.9) for step in (0, 10, 15, 20, 99)] == pytest.approx(
        [0.1, 0.1, 0.9 - 0.8 / 8, 0.9, 0.9]
    )
    assert cubic(5, 5, 5, 0.0, 0.7) == 0.7


def test_counts_follow_the_schedule_and_then_stay(model: Any, optimizer: Any, train: Any) -> None:
    pruning = GradualPruning(0.9, begin=4, end=0.6, every=4)
    pruning.prepare(model)
    got = count(train(model, optimizer, pruning, 1, 20, 20))
    want, share = [], 0.0
    for step in range(1, 21):
        if step >= 4 and (step % 4 == 0 or step == 12):
            share = cubic(step, 4, 12, 0.0, 0.9)
        want.append(round(share * N))
    assert got == want
    assert got[-1] == round(0.9 * N)
    assert pruning.counts_as_best()
    assert pruning.report().zeros == got[-1]


def test_removed_weights_do_not_return(model: Any, optimizer: Any, train: Any) -> None:
    pruning = GradualPruning(0.8, end=1.0, every=1)
    pruning.prepare(model)
    zeros = train(model, optimizer, pruning, 1, 10, 10)
    for before, after in pairwise(zeros):
        for one, other in zip(before, after, strict=True):
            assert other[one].all()


def test_pruned_model_is_pruned_further(model: Any, optimizer: Any, train: Any) -> None:
    prune(model, 0.5)
    pruning = GradualPruning(0.9, begin=0, end=4, every=2)
    pruning.prepare(model)
    assert count(train(model, optimizer, pruning, 1, 4, 8)) == [
        N // 2,
        round(cubic(2, 0, 4, 0.5, 0.9) * N),
        round(cubic(2, 0, 4, 0.5, 0.9) * N),
        round(0.9 * N),
    ]


def test_blocks_are_removed_whole(model: Any, optimizer: Any, train: Any) -> None:
    pruning = GradualPruning(0.5, end=4, every=1, block="1x4", scope="layer")
    pruning.prepare(model)
    train(model, optimizer, pruning, 1, 6, 6)
    for weight in (model[0].weight, model[2].weight):
        blocks = (weight == 0).unflatten(0, (-1, 4)).sum(1)
        assert set(blocks.unique().tolist()) == {0, 4}
        assert (blocks == 4).sum() == blocks.numel() // 2


@pytest.mark.parametrize("average", [copy.deepcopy, AveragedModel])
def test_moments_and_averaged_weights_get_the_zeros(
    model: Any, optimizer: Any, average: Any
) -> None:
    pruning, averaged = GradualPruning(0.5, begin=0, end=1.0, every=1), average(model)
    pruning.prepare(model)
    model(torch.ones(2, 12)).sum().backward()
    optimizer.step()
    pruning.step(1, 1, optimizer, averaged)
    for i in (0, 2):
        zero = model[i].weight == 0
        assert zero.any()
        assert (getattr(averaged, "module", averaged)[i].weight[zero] == 0).all()
        assert (optimizer.state[model[i].weight]["exp_avg"][zero] == 0).all()


def test_movement_removes_what_moves_towards_zero() -> None:
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[5.0, 0.5]]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    pruning = GradualPruning(0.5, begin=0, end=3, every=3, method="movement")
    pruning.prepare(model)
    for step in range(1, 4):  # the large weight shrinks, the small one grows
        optimizer.zero_grad()
        model(torch.tensor([[1.0, -1.0]])).sum().backward()
        optimizer.step()
        pruning.step(step, 3, optimizer)
    assert model.weight[0, 0] == 0
    assert model.weight.detach()[0, 1].item() == pytest.approx(0.53)


def test_penalty_shrinks_the_norm_of_each_block_by_the_same(model: Any) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    before = model[0].weight.detach().clone().unflatten(0, (-1, 4)).norm(dim=1)
    pruning = GradualPruning(0.0, end=10, block=(1, 4), group_penalty=2.0)
    pruning.prepare(model)
    for step in range(1, 31):
        pruning.step(step, 30, optimizer)
    after = model[0].weight.detach().unflatten(0, (-1, 4)).norm(dim=1)
    # Ten steps at once, until the end of the ramp: 10 * 0.01 * 2.
    assert torch.allclose(after, (before - 0.2).clamp(min=0), atol=1e-6)


def test_penalty_needs_the_optimizer(model: Any) -> None:
    pruning = GradualPruning(0.5, group_penalty=1.0)
    pruning.prepare(model)
    with pytest.raises(ValueError, match=r"step needs the optimizer that trains 0.weight"):
        pruning.step(10, 100)


@pytest.mark.parametrize("method", ["magnitude", "movement"])
def test_resumed_run_equals_one_that_never_stopped(
    model: Any, optimizer: Any, train: Any, method: Any
) -> None:
    def make() -> GradualPruning:
        return GradualPruning(0.8, end=0.8, every=2, method=method)

    whole, whole_optimizer = copy.deepcopy(model), None
    whole_optimizer = torch.optim.AdamW(whole.parameters(), lr=0.01)
    pruning = make()
    pruning.prepare(whole)
    train(whole, whole_optimizer, pruning, 1, 10, 10)

    first = make()
    first.prepare(model)
    train(model, optimizer, first, 1, 5, 10)
    resumed = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 8))
    resumed_optimizer = torch.optim.AdamW(resumed.parameters(), lr=0.01)
    second = make()
    second.prepare(resumed)
    resumed.load_state_dict(model.state_dict())
    resumed_optimizer.load_state_dict(optimizer.state_dict())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert not second.counts_as_best()
    train(resumed, resumed_optimizer, second, 6, 10, 10)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    assert second.counts_as_best()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"amount": 2}, "amount must be from 0 to 1, got 2"),
        ({"initial": 0.9}, "initial must not exceed amount"),
        ({"begin": -1}, "begin must be a share of all steps"),
        ({"end": "half"}, "end must be a share of all steps"),
        ({"begin": 0.7}, "begin must not be later than end"),
        ({"every": 0}, "every must be an integer of at least 1, got 0"),
        ({"scope": "model"}, "scope must be one of"),
        ({"method": "snip"}, "method must be one of"),
        ({"group_penalty": -1}, "group_penalty must be at least 0 and finite, got -1"),
        ({"group_penalty": True}, "group_penalty must be at least 0 and finite, got True"),
        ({"reorder": "no"}, "reorder must be true or false, got 'no'"),
        ({"block": "4"}, "block must be two positive integers"),
    ],
)
def test_wrong_arguments(options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GradualPruning(**{"amount": 0.5, **options})


def test_state_of_other_matrices_is_an_error(model: Any) -> None:
    pruning, other = GradualPruning(0.5), GradualPruning(0.5, include="0.*")
    pruning.prepare(model)
    other.prepare(model)
    with pytest.raises(ValueError, match=r"masks of \['0.weight'\], but the run prunes"):
        pruning.load_state_dict(other.state_dict())
    state = pruning.state_dict()
    state["masks"]["0.weight"] = state["masks"]["0.weight"][:3]
    with pytest.raises(ValueError, match=r"mask of 0.weight has 3 bytes, want"):
        pruning.load_state_dict(state)


@pytest.mark.parametrize(
    "callback",
    [
        GradualPruning(0.8, end=6, every=2, method="movement"),
        RigL(0.5, every=2, end=1.0),
        DeepRewiring(0.5, l1=0.1, temperature=1e-2),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_a_callback_begins_anew_with_another_model(model: Any, train: Any, callback: Any) -> None:
    models = [model, copy.deepcopy(model)]
    for one in models:
        callback.prepare(one)
        train(one, torch.optim.AdamW(one.parameters(), lr=0.01), callback, 1, 7, 8)
    for one, other in zip(*(m.parameters() for m in models), strict=True):
        assert torch.equal(one, other)
    assert callback.is_complete


def test_step_before_prepare_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"call prepare\(model\) of GradualPruning"):
        GradualPruning(0.5).step(1, 10)


def test_units_are_reordered_once_before_blocks_are_removed(
    model: Any, optimizer: Any, train: Any
) -> None:
    before, x = copy.deepcopy(model), torch.randn(3, 12)
    options = {"block": (1, 4), "end": 4, "every": 2, "reorder": True}
    pruning = GradualPruning(0.5, **options)
    pruning.prepare(model)
    assert not torch.equal(model[0].weight, before[0].weight)
    torch.testing.assert_close(model(x), before(x))
    train(model, optimizer, pruning, 1, 4, 4)
    pruned = copy.deepcopy(model)
    GradualPruning(0.75, **options).prepare(model)
    assert torch.equal(model[0].weight, pruned[0].weight)


@pytest.mark.parametrize("points", [{"begin": 0.9, "end": 5}, {"end": 101}])
def test_ramp_that_does_not_fit_into_the_run(model: Any, points: Any) -> None:
    pruning = GradualPruning(0.5, **points)
    pruning.prepare(model)
    with pytest.raises(ValueError, match=r"must be in this order and within the run"):
        pruning.step(1, 100)


@pytest.mark.parametrize("fused", [False, True])
def test_movement_ignores_the_scale_of_gradients_and_skipped_steps(fused: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    x = torch.randn(8, 4)
    pruning = GradualPruning(0.5, end=3, every=1, method="movement")
    pruning.prepare(model)
    optimizer = torch.optim.Adam(model.parameters(), fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    seen = []
    for step, factor in enumerate((1.0, float("inf"), 1.0), 1):
        optimizer.zero_grad()
        scaler.scale(model(x).square().sum() * factor).backward()
        want = model[0].weight.detach() * model[0].weight.grad / scaler.get_scale()
        before = pruning.state_dict()["movement"]["0.weight"].clone()
        scaler.step(optimizer)
        scaler.update()
        moved = pruning.state_dict()["movement"]["0.weight"] - before
        seen.append(torch.allclose(moved, -want if factor == 1 else torch.zeros_like(want)))
        pruning.step(step, 3, optimizer)
    assert seen == [True] * 3


@pytest.mark.parametrize(("step", "total"), [(0, 10), (11, 10), (1.5, 10), (1, 0)])
def test_steps_are_counted_from_one_to_the_last(step: Any, total: int) -> None:
    pruning = GradualPruning(0.5)
    pruning.prepare(nn.Linear(4, 4))
    with pytest.raises(ValueError, match=r"step(s|) must be an integer of at least 1"):
        pruning.step(step, total)
