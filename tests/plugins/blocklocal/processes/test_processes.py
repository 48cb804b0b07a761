"""Ranks: bit-equal to one process, replicas, a dead rank, plans and their costs."""

from __future__ import annotations

import multiprocessing
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file

from evenfall_blocklocal import BlockLocal, check_leaks
from evenfall_blocklocal.processes import (
    BlockPipeline,
    explain_plan,
    load_checkpoint,
    make_plan,
    pipeline_costs,
    save_checkpoint,
)

WORKER = Path(__file__).with_name("worker.py")
HERE = runpy.run_path(str(WORKER))
STEPS = 20

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this torch has no gloo",
)


@pytest.fixture
def start(tmp_path):
    """Run the worker on several ranks, each in its process; returns their exit codes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "evenfall_blocklocal.processes"])

    def run(ranks: int, replicas: int = 1, dies: bool = False, steps: int = STEPS) -> list[int]:
        shared = {
            "ranks": ranks, "replicas": replicas, "steps": steps, "dies": dies,
            "store": str(tmp_path / f"store-{ranks}-{replicas}"),
            "out": str(tmp_path / f"out-{ranks}-{replicas}"),
        }  # fmt: skip
        started = [
            context.Process(
                target=runpy.run_path,
                args=(str(WORKER), {"SETTINGS": {**shared, "rank": rank}}, "__main__"),
            )
            for rank in range(ranks)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join(3600)
        return [process.exitcode for process in started]

    return run


def one_process(steps: int = STEPS) -> dict[str, Any]:
    local = HERE["make_local"]()
    optimizer = torch.optim.AdamW(local.parameters(), 0.01)
    for rows, target in HERE["batches"](steps):
        local(rows, target=target).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return local.state_dict()


@pytest.mark.slow
def test_ranks_give_the_weights_of_one_process(start, tmp_path) -> None:
    wanted = one_process()
    for ranks in (2, 3):
        assert start(ranks) == [0] * ranks
        for rank in range(ranks):
            found = load_file(tmp_path / f"out-{ranks}-1-{rank}.safetensors")
            assert found.keys() == wanted.keys()
            different = [n for n, value in wanted.items() if not torch.equal(found[n], value)]
            assert different == []


@pytest.mark.slow
def test_replicas_average_their_gradients(start, tmp_path) -> None:
    assert start(4, replicas=2, steps=4) == [0] * 4
    found = [load_file(tmp_path / f"out-4-2-{rank}.safetensors") for rank in range(4)]
    parameters = [name for name, _ in HERE["make_local"]().named_parameters()]
    assert all(torch.equal(found[0][name], found[3][name]) for name in parameters)
    wanted = one_process(4)
    assert any(not torch.equal(found[0][name], wanted[name]) for name in parameters)


@pytest.mark.slow
def test_a_dead_rank_is_an_error_on_the_others_and_the_run_continues_exactly(
    start, tmp_path
) -> None:
    assert start(2, dies=True) == [1, 0]
    message = (tmp_path / "out-2-1-1.txt").read_text()
    assert "rank 1 lost rank 0: it has ended" in message
    assert "Start all ranks again from the last checkpoint" in message
    assert [path.name for path in (tmp_path / "out-2-1-run").iterdir()] == ["checkpoint-10"]
    (tmp_path / "store-2-1").unlink()
    assert start(2) == [0, 0]
    found, wanted = load_file(tmp_path / "out-2-1-0.safetensors"), one_process()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_stages_have_consecutive_blocks_of_like_cost() -> None:
    local = HERE["make_local"]()
    assert make_plan(local, 4).stages == ((0, 0), (1, 1), (2, 2), (3, 3))
    assert make_plan(local, 2).stages == ((0, 1), (2, 3))
    plan = make_plan(local, 4, replicas=2)
    assert [plan.stage_of(rank) for rank in range(4)] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_dry_run_says_why_a_model_cannot_be_split(make_stack) -> None:
    def reasons(ranks: int, *arguments: Any, **options: Any) -> str:
        local = BlockLocal(make_stack(3), *arguments, inputs=torch.randn(2, 5), **options)
        return "; ".join(explain_plan(local, ranks))

    assert reasons(3, 3, feedback="direct") == ""
    assert reasons(3, 3, "local-ce") == ""
    assert "chained feedback" in reasons(3, 3)
    assert "need as many blocks, but there are 3" in reasons(4, 3, "local-ce")
    assert "rule 'dfa' needs weights or errors" in reasons(2, 3, "dfa")
    assert "backward must be 'inside'" in reasons(2, 3, "local-ce", backward="after")
    local = BlockLocal(make_stack(3), 3, inputs=torch.randn(2, 5))
    assert explain_plan(local, 3, 2) == ["3 ranks are no multiple of 2 replicas"]
    with pytest.raises(ValueError, match="cannot split over 3 ranks: chained feedback"):
        make_plan(local, 3)


def test_a_model_may_move_to_another_device_after_it_was_split(make_stack) -> None:
    local = BlockLocal(make_stack(3), 3, "local-ce", inputs=torch.randn(2, 5)).to("meta")
    check_leaks(local.model, local.split)
    assert explain_plan(local, 3) == []
    BlockLocal(local.model, local.split, "dgl-man")


def test_objects_in_an_output_cannot_be_sent() -> None:
    stream = pytest.importorskip("evenfall_stream")
    events = stream.EventStreamClassifier(3, (8, 8), widths=(8, 12), depths=(1, 1), strides=(4, 2))
    local = BlockLocal(events, 2, "local-ce", latent=4, hidden=8)
    assert explain_plan(local, 2) == ["the output of 'stages.0' contains Graphs"]


def test_costs_of_balanced_stages_approach_the_number_of_ranks() -> None:
    one, two, four = pipeline_costs([1.0] * 4, [1, 2, 4], 100)
    assert (one.speedup, one.bubble) == (1.0, 0.0)
    assert two.seconds == 4 + 99 * 2
    assert four.speedup == pytest.approx(400 / (4 + 99))
    assert four.efficiency == pytest.approx(100 / 103)
    slow = pipeline_costs([1.0] * 4, [4], 100, boundary_bytes=[8, 8, 8], bandwidth=8)[0]
    assert (slow.bytes_per_step, slow.seconds) == (24, 7 + 99 * 2)
    with pytest.raises(ValueError, match="ranks must be from 1 to the 4 blocks, got 5"):
        pipeline_costs([1.0] * 4, [5], 3)
    with pytest.raises(ValueError, match="boundary_bytes must have 3 entries"):
        pipeline_costs([1.0] * 4, [2], 3, boundary_bytes=[1])


@pytest.mark.parametrize(
    ("seconds", "options", "message"),
    [
        ([], {}, "block_seconds must have a number for each block, got none"),
        ([1.0, 0.0], {}, "block_seconds must be more than 0 and finite, got 0.0"),
        ([1.0], {"steps": 0}, "steps must be an integer of at least 1, got 0"),
        ([1.0], {"bandwidth": 0}, "bandwidth must be more than 0, got 0"),
    ],
)
def test_costs_of_impossible_runs_are_refused(seconds, options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline_costs(seconds, [1], **({"steps": 3} | options))


def test_impossible_ranks_and_times_are_refused(make_stack) -> None:
    local = BlockLocal(make_stack(3), 3, "local-ce", inputs=torch.randn(2, 5))
    with pytest.raises(ValueError, match="replicas must be an integer of at least 1, got 0"):
        explain_plan(local, 2, 0)
    for options, message in (({"timeout": 0}, "timeout must be"), ({"ahead": -1}, "ahead must be")):
        with pytest.raises(ValueError, match=message):
            BlockPipeline(local, **options)


def test_a_pipeline_does_not_train_a_model_in_evaluation_mode(make_stack) -> None:
    pipeline = BlockPipeline.__new__(BlockPipeline)
    pipeline.local = BlockLocal(make_stack(3), 3, "local-ce", inputs=torch.randn(2, 5)).eval()
    with pytest.raises(RuntimeError, match="a pipeline only trains"):
        pipeline(torch.randn(4, 5), target=torch.zeros(4, dtype=torch.long))


def test_a_checkpoint_may_have_tied_weights(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)

    def make() -> BlockLocal:
        layers = [torch.nn.Linear(5, 5) for _ in range(4)]
        layers[1].weight = layers[0].weight
        return BlockLocal(
            torch.nn.Sequential(*layers), 2, "local-ce", boundaries=None, inputs=torch.randn(2, 5)
        )

    def wait() -> None:
        pass

    first, second = (
        SimpleNamespace(local=make(), rank=0, gather=wait, wait_for_all=wait) for _ in range(2)
    )
    optimizer = torch.optim.SGD(first.local.parameters(), 0.1)
    save_checkpoint(first, optimizer, tmp_path, 3)
    assert load_checkpoint(second, optimizer, tmp_path) == 3
    assert torch.equal(second.local.model[1].weight, first.local.model[0].weight)
    assert second.local.model[1].weight is second.local.model[0].weight


def test_activations_arrive_in_their_order_whatever_their_layout(monkeypatch) -> None:
    sent = torch.arange(24.0).reshape(1, 2, 3, 4)

    def receive(tensor, source, group) -> None:
        assert tensor.is_contiguous()  # what is sent is
        tensor.copy_(sent)

    monkeypatch.setattr(torch.distributed, "recv", receive)
    pipeline = BlockPipeline.__new__(BlockPipeline)
    pipeline.stage, pipeline.replica, pipeline.rank, pipeline._group = 1, 0, 1, None
    pipeline.plan = SimpleNamespace(replicas=1)
    like = torch.zeros(1, 2, 3, 4).to(memory_format=torch.channels_last)
    found = pipeline._receive([like, 3])
    assert torch.equal(found[0], sent)
    assert found[0].stride() == like.stride()
    assert found[1] == 3
