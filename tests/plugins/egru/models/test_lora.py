"""LoRA of peft on the weights of EGRU's layers: training, merging, saving."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

from evenfall_egru import LORA_TARGET_PARAMETERS, EgruForSequenceClassification

TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7, 9, 3]])
pytestmark = pytest.mark.filterwarnings("ignore")


def adapt(model: Any, **options: Any) -> Any:
    torch.manual_seed(1)
    options = {"target_parameters": LORA_TARGET_PARAMETERS, "r": 2, **options}
    return peft.get_peft_model(model, peft.LoraConfig(**options))


@pytest.fixture
def make(make_egru: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *a, **k: make_egru(*a, embedding_range=1.0, threshold_mean=0.2, **k)


def train(model: Any) -> list[float]:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer, losses = torch.optim.SGD(weights, lr=0.3), []
    model.train()
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(input_ids=TOKENS, labels=TOKENS).loss
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    model.eval()
    return losses


def test_gradient_checkpointing_changes_no_loss(make: Callable[..., Any]) -> None:
    """TRL's trainers turn it on."""
    losses = train(adapt(make(), task_type="CAUSAL_LM"))
    model = make()
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
    assert train(adapt(model, task_type="CAUSAL_LM")) == losses


@pytest.mark.parametrize("options", [{}, {"target_modules": "all-linear"}, {"use_rslora": True}])
def test_training_merging_and_saving(
    make: Callable[..., Any], tmp_path: Path, options: dict[str, Any]
) -> None:
    """All gate matrices learn and nothing else; with a projection, all-linear adds it."""
    egru = make(hidden_sizes=[20, 14])
    start = {name: tensor.clone() for name, tensor in egru.state_dict().items()}
    model = adapt(egru, task_type="CAUSAL_LM", **options)
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert len(learning) == 8 + 2 * ("target_modules" in options)
    before = model(input_ids=TOKENS).logits
    torch.testing.assert_close(before, make(hidden_sizes=[20, 14])(TOKENS).logits)
    losses = train(model)
    assert losses[-1] < losses[0]
    with torch.no_grad():
        want, text = model(input_ids=TOKENS).logits, model.generate(TOKENS, max_new_tokens=4)
        assert not torch.allclose(want, before)
        model.save_pretrained(tmp_path)
        loaded = peft.PeftModel.from_pretrained(make(hidden_sizes=[20, 14]), tmp_path)
        torch.testing.assert_close(loaded(input_ids=TOKENS).logits, want)
        model.merge_adapter()
        torch.testing.assert_close(model(input_ids=TOKENS).logits, want)
        model.unmerge_adapter()
        with model.disable_adapter():
            torch.testing.assert_close(model(input_ids=TOKENS).logits, before)
        merged = model.merge_and_unload()
        torch.testing.assert_close(merged(TOKENS).logits, want)
        assert torch.equal(merged.generate(TOKENS, max_new_tokens=4), text)
    for name, tensor in merged.state_dict().items():
        changed = name.endswith("kernel") or (
            "target_modules" in options and name == "projection.weight"
        )
        assert torch.equal(tensor, start[name]) != changed, name


def test_a_classifier_learns_its_head_too(make: Callable[..., Any]) -> None:
    model = adapt(make(EgruForSequenceClassification, num_labels=3), task_type="SEQ_CLS")
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert sum("lora" in name for name in learning) == 8
    assert any("score" in name for name in learning)
    model(input_ids=TOKENS, labels=torch.tensor([0, 2])).loss.backward()


def test_an_adapter_takes_tokens_back(make: Callable[..., Any]) -> None:
    """Assisted decoding reads the state after each token through the adapter."""
    model = adapt(make(), init_lora_weights=False, task_type="CAUSAL_LM")
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    want = model.generate(TOKENS[:1], **options)
    assert torch.equal(model.generate(TOKENS[:1], prompt_lookup_num_tokens=2, **options), want)


def test_without_targets_peft_asks_for_them(make: Callable[..., Any]) -> None:
    """A gate matrix is a parameter of its layer, not a module."""
    with pytest.raises(ValueError, match="target_parameters"):
        peft.get_peft_model(make(), peft.LoraConfig(task_type="CAUSAL_LM"))
