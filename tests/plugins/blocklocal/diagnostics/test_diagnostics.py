"""Alignment, probes, and the cost of a step."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from evenfall_blocklocal import BlockLocal
from evenfall_blocklocal.diagnostics import align_gradients, measure_step, probe_blocks


def make(stack: nn.Module, rule: str = "bll", blocks: int = 3) -> BlockLocal:
    return BlockLocal(stack, blocks, rule, inputs=torch.randn(2, 5), latent=4, hidden=8)


def test_backpropagation_is_aligned_with_itself(make_stack, batch) -> None:
    found = align_gradients(make(make_stack(3), "backprop"), batch[0], target=batch[1])
    assert found == pytest.approx([1.0] * 3)


def test_the_last_block_is_always_aligned(make_stack, batch) -> None:
    local = make(make_stack(3, norm=True))
    state = {name: value.clone() for name, value in local.state_dict().items()}
    found = align_gradients(local, batch[0], target=batch[1])
    assert found[-1] == pytest.approx(1.0)
    assert all(-1 <= value < 0.999 for value in found[:-1])
    assert all(p.grad is None for p in local.parameters())
    assert all(torch.equal(state[name], value) for name, value in local.state_dict().items())


@pytest.mark.parametrize("seed", [None, 3])
def test_alignment_draws_the_same_random_numbers_for_both(batch, seed: int | None) -> None:
    layers = [nn.Sequential(nn.Linear(n, 6), nn.Tanh(), nn.Dropout()) for n in (5, 6)]
    local = BlockLocal(
        nn.Sequential(*layers, nn.Linear(6, 3)), 3, inputs=batch[0], seed=seed, latent=4, hidden=8
    )
    local.steps = 7
    found = align_gradients(local, batch[0], target=batch[1])
    assert found[-1] == pytest.approx(1.0)


def test_frozen_blocks_have_no_alignment(make_stack, batch) -> None:
    found = align_gradients(make(make_stack(3), "frozen"), batch[0], target=batch[1])
    assert [math.isnan(value) for value in found] == [True, True, False]


def test_probes_read_what_is_linear_in_the_features(make_stack) -> None:
    rows = torch.randn(200, 5)
    target = (rows[:, 0] > 0).long() * 2
    local = make(make_stack(3))
    batches = [(rows[:100], target[:100]), (rows[100:150], target[100:150])]
    found = probe_blocks(local, batches, [(rows[150:], target[150:])])
    assert len(found) == 3
    assert found[0] > 0.8
    assert local.training
    regression = BlockLocal(
        make_stack(3), 3, task="regression", inputs=rows[:2], latent=4, hidden=8
    )
    with pytest.raises(ValueError, match="probes need targets of classes"):
        probe_blocks(regression, batches, batches)


def test_probes_read_dictionaries_and_skip_padding() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(2, 4), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, Any]:
            return {"logits": self.last(self.first(x).mean(1))}

    x, target = torch.zeros(60, 5, 2), torch.arange(60) % 2
    x[:, 0, 0] = target - 0.5
    x[:, 1:] = 1e4 * torch.randn(60, 4, 2)  # padding
    mask = torch.tensor([1, 0, 0, 0, 0]).expand(60, 5)
    inputs = {"x": x, "attention_mask": mask}
    local = BlockLocal(Reader(), 2, inputs=inputs, latent=4, hidden=8)
    found = probe_blocks(local, [(inputs, target)], [(inputs, target)])
    assert found[0] == 1
    with pytest.raises(ValueError, match="at least one batch"):
        probe_blocks(local, [], [])


def test_a_probe_of_one_sample_knows_its_class(make_stack) -> None:
    rows, target = torch.randn(4, 5), torch.tensor([2, 0, 1, 2])
    found = probe_blocks(make(make_stack(3)), [(rows[:1], target[:1])], [(rows, target)])
    assert found[:2] == [0.5, 0.5]


def test_measuring_a_step_leaves_everything_as_it_was(make_stack, batch) -> None:
    local = BlockLocal(
        make_stack(3, norm=True), rule="dgl-man", boundaries=["0", "1"], inputs=batch[0], latent=4
    )
    with torch.no_grad():
        local.model[1][0].weight.add_(1)  # the average would follow
    local.model[0][1].eval()
    modes = [module.training for module in local.modules()]
    state = {name: value.clone() for name, value in local.state_dict().items()}
    measure_step(local, batch[0], target=batch[1], rounds=1)
    probe_blocks(local, [batch], [batch])
    assert [module.training for module in local.modules()] == modes
    assert all(torch.equal(state[name], value) for name, value in local.state_dict().items())
    with pytest.raises(ValueError, match="rounds must be an integer of at least 1, got 0"):
        measure_step(local, batch[0], target=batch[1], rounds=0)


def test_blocks_save_less_at_a_time() -> None:
    torch.manual_seed(0)
    deep = [nn.Sequential(nn.Linear(32, 32), nn.Tanh()) for _ in range(12)]
    model = nn.Sequential(*deep, nn.Linear(32, 3))
    rows, target = torch.randn(64, 32), torch.randint(3, (64,))
    costs = {}
    for rule, blocks in (("backprop", 1), ("local-ce", 4), ("local-ce", 12)):
        local = BlockLocal(
            model, blocks, rule, balance="activations", inputs=rows[:2], latent=4, hidden=4
        )
        costs[blocks] = measure_step(local, rows, target=target, rounds=1)
    assert costs[1].saved_bytes >= 13 * rows.numel() * 4
    assert costs[4].saved_bytes < 0.5 * costs[1].saved_bytes
    assert costs[12].saved_bytes < costs[4].saved_bytes
    assert costs[1].peak_bytes is None
    assert costs[1].seconds > 0
