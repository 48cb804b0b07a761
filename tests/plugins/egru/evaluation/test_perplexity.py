"""Perplexity, activity and operation counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import cross_entropy

from evenfall_egru import EgruConfig, EgruForCausalLM
from evenfall_egru.evaluation.macs import count_macs
from evenfall_egru.evaluation.perplexity import evaluate_tokens
from evenfall_kernels.ops.egru_scan.reference import event


@pytest.fixture
def stream() -> torch.Tensor:
    """201 token ids."""
    return torch.randint(41, (201,), generator=torch.Generator().manual_seed(3))


@pytest.fixture
def model(make_egru: Callable[..., Any]) -> Any:
    """A model with enough events and distinct logits for the results to differ."""
    model = make_egru(threshold_mean=0.1)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(8)
    return model


def perplexity_of(model: Any, pieces: list[torch.Tensor]) -> float:
    """exp of the mean cross-entropy of pieces, each in one call from an empty state."""
    total, count = 0.0, 0
    for piece in pieces:
        with torch.no_grad():
            logits = model(piece[None, :-1]).logits[0]
        total += float(cross_entropy(logits, piece[1:], reduction="sum"))
        count += len(piece) - 1
    return math.exp(total / count)


def test_perplexity_is_that_of_one_call(model: Any, stream: torch.Tensor) -> None:
    result = evaluate_tokens(model, stream, window=1000)
    assert result["tokens"] == 200
    assert result["perplexity"] == pytest.approx(perplexity_of(model, [stream]), rel=1e-5)
    assert result["loss"] == pytest.approx(math.log(result["perplexity"]))


@pytest.mark.parametrize("window", [1, 7, 70, 200])
def test_the_window_does_not_matter_with_full_carry(
    model: Any, stream: torch.Tensor, window: int
) -> None:
    want = evaluate_tokens(model, stream, window=1000)
    got = evaluate_tokens(model, stream, window=window)
    assert got["perplexity"] == pytest.approx(want["perplexity"], rel=1e-5)
    assert got["activity"] == pytest.approx(want["activity"], rel=1e-5)
    assert got["window"] == window
    assert got["tokens"] == 200


def test_a_batch_is_contiguous_pieces(model: Any, stream: torch.Tensor) -> None:
    result = evaluate_tokens(model, stream, window=9, batch_size=4)
    pieces = [stream[i * 50 : i * 50 + 51] for i in range(4)]
    assert result["perplexity"] == pytest.approx(perplexity_of(model, pieces), rel=1e-5)
    assert result["tokens"] == 200


def test_carry_none_is_a_fresh_start_each_window(model: Any, stream: torch.Tensor) -> None:
    result = evaluate_tokens(model, stream, window=40, carry="none")
    pieces = [stream[i : i + 41] for i in range(0, 200, 40)]
    assert result["perplexity"] == pytest.approx(perplexity_of(model, pieces), rel=1e-5)


def test_carry_modes_differ_and_leave_the_model_as_it_was(model: Any, stream: torch.Tensor) -> None:
    modes = ("full", "output", "none")
    results = {mode: evaluate_tokens(model, stream, window=5, carry=mode) for mode in modes}
    assert len({round(r["perplexity"], 6) for r in results.values()}) == 3
    assert model.config.carry == "full"
    model.config.carry = "output"
    again = evaluate_tokens(model, stream, window=5, carry="full")
    assert again["perplexity"] == pytest.approx(results["full"]["perplexity"], rel=1e-6)
    assert model.config.carry == "output"


def test_activity_is_a_rate(model: Any, stream: torch.Tensor) -> None:
    result = evaluate_tokens(model, stream, window=33)
    with torch.no_grad():
        events = model(stream[None, :-1], output_events=True).events
    want = [float(e.mean()) for e in events]
    assert result["activity"] == pytest.approx(want, rel=1e-5)
    assert all(0 < a < 1 for a in result["activity"])
    mean = (20 * want[0] + 12 * want[1]) / 32
    assert result["mean_activity"] == pytest.approx(mean, rel=1e-5)


def test_backward_sparsity_is_the_share_of_units_without_gradient(
    model: Any, stream: torch.Tensor
) -> None:
    """The gradient of each output with respect to its cell, by autograd."""
    out, want = model(stream[None, :-1], output_cells=True), []
    for layer, cells in zip(model.model.layers, out.cells, strict=True):
        c = cells.detach().requires_grad_()
        events = event(c - layer.threshold.detach().clamp(0, 1), 3.6, 3.6)
        (gradient,) = torch.autograd.grad((events * c).sum(), c)
        want.append(float((gradient == 0).double().mean()))
    result = evaluate_tokens(model, stream, window=17)
    assert result["backward_sparsity"] == pytest.approx(want)
    mean = (20 * want[0] + 12 * want[1]) / 32
    assert result["mean_backward_sparsity"] == pytest.approx(mean)
    assert 0.05 < mean < 1 - result["mean_activity"]


def test_a_loss_beyond_the_range_of_exp_is_an_infinite_perplexity(
    model: Any, stream: torch.Tensor
) -> None:
    with torch.no_grad():
        model.lm_head.bias[int(stream[0])] = 3000
    result = evaluate_tokens(model, stream)
    assert 2000 < result["loss"] < 3000
    assert result["perplexity"] == math.inf


def test_progress_reaches_the_end(model: Any, stream: torch.Tensor) -> None:
    seen: list[tuple[int, int]] = []
    evaluate_tokens(
        model, stream, window=64, batch_size=2, progress=lambda *step: seen.append(step)
    )
    assert seen == [(128, 200), (200, 200)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"carry": "some"}, "carry must be one of full, output, none, got 'some'"),
        ({"window": 0}, "window must be an integer of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": 300}, "more than 300 ids for batch_size 300, got 201"),
    ],
)
def test_impossible_evaluations(
    model: Any, stream: torch.Tensor, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        evaluate_tokens(model, stream, **options)


def test_several_rows_of_tokens_are_refused(model: Any, stream: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"tokens must have shape \(N,\), got \(1, 201\)"):
        evaluate_tokens(model, stream[None])


def test_published_sizes_and_operations() -> None:
    """Parameters and operations of the published PTB model: 24.165 million in the recurrent
    layers, and the tied embedding counted once."""
    with torch.device("meta"):
        config = EgruConfig(vocab_size=10000, embedding_size=750, hidden_sizes=[1350, 1350, 750])
        model = EgruForCausalLM(config)
    shapes = {n: p.numel() for n, p in model.named_parameters()}
    assert sum(n for name, n in shapes.items() if name.endswith("kernel")) == 24_165_000
    assert sum(shapes.values()) == 31_699_150
    layers = model.model.layers
    with torch.no_grad():
        for module in (*layers, model.lm_head):
            module.to_empty(device="cpu")
            for parameter in module.parameters():
                parameter.fill_(1)
    macs = count_macs(model, [0.12, 0.12, 0.12])
    assert macs["dense"] == 24_165_000 + 7_500_000
    assert macs["effective"] == pytest.approx(3_037_500 + 0.12 * (macs["dense"] - 3_037_500))


def test_operations_by_the_formula(make_egru: Callable[..., Any]) -> None:
    activity = [0.25, 0.5]
    macs = count_macs(make_egru(), activity)
    dense = 3 * 20 * 12 + 3 * 20 * 20 + 3 * 20 * 12 + 3 * 12 * 12 + 41 * 12
    effective = 3 * 20 * 12 + 0.25 * (3 * 20 * 20 + 3 * 20 * 12) + 0.5 * (3 * 12 * 12 + 41 * 12)
    assert macs == {"dense": dense, "effective": effective, "ratio": dense / effective}


def test_zero_weights_do_not_count(make_egru: Callable[..., Any]) -> None:
    model = make_egru()
    before = count_macs(model, [0.25, 0.5])
    with torch.no_grad():
        model.model.layers[1].kernel[:10] = 0  # 10 of 20 inputs, 36 columns
    after = count_macs(model, [0.25, 0.5])
    assert before["effective"] - after["effective"] == 0.25 * 360
    assert after["dense"] == before["dense"]


def test_a_projection_ends_sparsity(make_egru: Callable[..., Any]) -> None:
    macs = count_macs(make_egru(hidden_sizes=[16]), [0.5])
    assert macs["effective"] == 3 * 16 * 12 + 0.5 * (3 * 16 * 16 + 16 * 12) + 41 * 12


def test_a_silent_model_still_reads_its_input(make_egru: Callable[..., Any]) -> None:
    assert count_macs(make_egru(), [0.0, 0.0])["effective"] == 3 * 20 * 12
