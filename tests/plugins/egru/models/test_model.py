"""EGRU models for transformers: events, masks, classification, and damaged files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from evenfall_egru import EgruForCausalLM, EgruForSequenceClassification


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_event_driven_decoding_equals_dense(make_egru: Callable[..., Any], batch: int) -> None:
    ids = torch.randint(41, (batch, 9), generator=torch.Generator().manual_seed(2))
    steps = []
    for event_driven in (True, False):
        model = make_egru(event_driven=event_driven, threshold_mean=0.2)
        cache, step_logits = None, []
        for t in range(ids.shape[1]):
            out = model(ids[:, t : t + 1], past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            step_logits.append(out.logits)
        steps.append(torch.cat(step_logits, 1))
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-5, atol=1e-6)


def test_thresholds_start_within_range_around_their_mean(make_egru: Callable[..., Any]) -> None:
    model = make_egru(hidden_sizes=[4000], embedding_size=4, threshold_mean=0.2)
    threshold = model.model.layers[0].threshold.detach()
    assert bool(((threshold >= 0) & (threshold <= 1)).all())
    assert float(threshold.mean()) == pytest.approx(0.2, abs=0.02)


def test_fixed_thresholds_do_not_learn(make_egru: Callable[..., Any], ids: torch.Tensor) -> None:
    model = make_egru(threshold_trainable=False)
    model(ids, labels=ids).loss.backward()
    assert model.model.layers[0].threshold.grad is None
    assert model.model.layers[0].kernel.grad is not None


def test_a_threshold_out_of_range_acts_as_the_nearest_in_it(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    low, zero = make_egru(), make_egru()
    with torch.no_grad():
        low.model.layers[0].threshold.fill_(-0.4)
        zero.model.layers[0].threshold.fill_(0.0)
    assert torch.equal(low(ids).logits, zero(ids).logits)


@pytest.mark.parametrize("shape", [(2, 17), (3, 5), (3, 1, 17, 17)])
def test_a_mask_that_does_not_fit_is_refused(
    make_egru: Callable[..., Any], ids: torch.Tensor, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"attention_mask must have shape \(3, "):
        make_egru()(ids, attention_mask=torch.zeros(shape))


def test_a_sequence_of_padding_alone_keeps_its_state(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    model = make_egru()
    with torch.no_grad():
        cache = model(ids, use_cache=True).past_key_values
        before = [(layer.keys.clone(), layer.values.clone()) for layer in cache.layers]
        mask = torch.ones(3, 19)
        mask[1, 17:] = 0
        model(ids[:, :2], attention_mask=mask, past_key_values=cache)
    for (y, h), layer in zip(before, cache.layers, strict=True):
        assert torch.equal(layer.keys[1], y[1])
        assert torch.equal(layer.values[1], h[1])
        assert not torch.equal(layer.values[0], h[0])


def test_classification_reads_the_last_real_token(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    model = make_egru(EgruForSequenceClassification, num_labels=4)
    mask = torch.ones_like(ids)
    mask[0, 10:], mask[1, :6] = 0, 0
    y = model.model(ids, attention_mask=mask).last_hidden_state
    want = model.score(torch.stack([y[0, 9], y[1, -1], y[2, -1]]))
    torch.testing.assert_close(model(ids, attention_mask=mask).logits, want)
    assert model(ids, return_dict=False)[0].shape == (3, 4)


def test_regression_and_several_labels(make_egru: Callable[..., Any], ids: torch.Tensor) -> None:
    model = make_egru(EgruForSequenceClassification, num_labels=1)
    targets = torch.tensor([0.5, -1.0, 2.0])
    out = model(ids, labels=targets)
    torch.testing.assert_close(out.loss, (out.logits[:, 0] - targets).square().mean())
    model = make_egru(
        EgruForSequenceClassification, num_labels=2, problem_type="multi_label_classification"
    )
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    out = model(ids, labels=labels)
    want = torch.nn.functional.binary_cross_entropy_with_logits(out.logits, labels)
    torch.testing.assert_close(out.loss, want)


def test_classifier_is_saved_and_loaded(
    make_egru: Callable[..., Any], ids: torch.Tensor, tmp_path: Path
) -> None:
    model = make_egru(EgruForSequenceClassification, num_labels=4)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(ids).logits, model(ids).logits)


@pytest.fixture
def saved(make_egru: Callable[..., Any], tmp_path: Path) -> Path:
    """The folder of a saved model."""
    make_egru().save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(saved: Path, value: float) -> None:
    tensors = load_file(saved / "model.safetensors")
    tensors["model.layers.1.kernel"][3, 2] = value
    save_file(tensors, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=r"contains values that are not finite, in \['model.layers.1.kernel'\]"
    ):
        EgruForCausalLM.from_pretrained(saved)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5])
def test_a_cut_off_file_is_named(saved: Path, share: float) -> None:
    file = saved / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="weights cannot be read, a file is damaged or incomplete"):
        EgruForCausalLM.from_pretrained(saved)


def test_the_path_can_be_passed_by_the_name_that_transformers_gives_it(saved: Path) -> None:
    by_name = EgruForCausalLM.from_pretrained(pretrained_model_name_or_path=saved)
    assert torch.equal(
        by_name.lm_head.weight, EgruForCausalLM.from_pretrained(saved).lm_head.weight
    )


def test_a_checkpoint_of_another_vocabulary_is_refused(saved: Path) -> None:
    config = saved / "config.json"
    config.write_text(config.read_text().replace('"vocab_size": 41', '"vocab_size": 40'))
    words = (
        r"shape mismatch in .*embed_tokens.weight: \(41, 12\) in the file, \(40, 12\) in the "
        "configuration.*ignore_mismatched_sizes=True leaves these at random initialisation"
    )
    with pytest.raises(ValueError, match=words):
        EgruForCausalLM.from_pretrained(saved)
    model = EgruForCausalLM.from_pretrained(saved, ignore_mismatched_sizes=True)
    assert model.lm_head.weight.shape == (40, 12)
