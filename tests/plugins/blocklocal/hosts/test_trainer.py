"""transformers' Trainer: gradients, accumulation, checkpoints."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from evenfall_blocklocal import BlockLocal
from evenfall_blocklocal.hosts.trainer import BlockLocalTrainer


def make_local(rule: str = "bll") -> BlockLocal:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=20, n_embd=16, n_layer=3, n_head=2, n_positions=16, bos_token_id=0,
        eos_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    return BlockLocal(transformers.GPT2LMHeadModel(config), 3, rule, latent=8, hidden=16, seed=1)


def rows(count: int = 16) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(20, (count, 6), generator=generator)
    return [{"input_ids": row, "labels": row, "unused": 1} for row in ids]


def make_trainer(folder: Any, local: BlockLocal, **options: Any) -> BlockLocalTrainer:
    arguments = transformers.TrainingArguments(
        str(folder), report_to=[], use_cpu=True, disable_tqdm=True, seed=3, logging_steps=1,
        **({"max_steps": 4, "per_device_train_batch_size": 4} | options),
    )  # fmt: skip
    return BlockLocalTrainer(local, arguments, train_dataset=rows(), eval_dataset=rows(4))


def weights(local: BlockLocal) -> dict[str, Any]:
    return {name: p.detach().clone() for name, p in local.named_parameters()}


def assert_close(found: dict[str, Any], wanted: dict[str, Any], **tolerance: float) -> None:
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, msg=name, **tolerance)


def test_a_run_trains_all_blocks_and_resumes_exactly(tmp_path) -> None:
    local = make_local()
    before = weights(local)
    whole = make_trainer(tmp_path / "whole", local, save_steps=2)
    whole.train()
    assert all(not torch.equal(before[name], value) for name, value in weights(local).items())
    assert whole.evaluate()["eval_loss"] > 0
    plain = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "whole" / "checkpoint-4")
    ids = rows()[0]["input_ids"][None]
    assert torch.equal(plain(ids).logits, local.model.eval()(ids).logits)
    other = make_local()
    make_trainer(tmp_path / "whole", other, save_steps=2).train(
        resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2")
    )
    assert_close(weights(other), weights(local), rtol=0, atol=0)


def test_accumulated_steps_equal_one_large_batch(tmp_path) -> None:
    found = []
    for size, steps in ((8, 1), (4, 2)):
        local = make_local("local-ce")
        for layer in local.model.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
        make_trainer(
            tmp_path / str(size), local, per_device_train_batch_size=size,
            gradient_accumulation_steps=steps, max_steps=2, optim="sgd", learning_rate=0.1,
            max_grad_norm=0.5, save_strategy="no",
        ).train()  # fmt: skip
        found.append(weights(local))
    assert_close(*found, rtol=1e-4, atol=1e-6)


def test_other_models_are_refused(tmp_path) -> None:
    with pytest.raises(TypeError, match="model must be a BlockLocal"):
        BlockLocalTrainer(make_local().model)
    with pytest.raises(ValueError, match="does not support label_smoothing_factor"):
        make_trainer(tmp_path, make_local(), label_smoothing_factor=0.1)
    arguments = transformers.TrainingArguments(str(tmp_path), report_to=[], use_cpu=True)
    several = (make_local(), arguments, None, None, None, None, None)  # by position
    with pytest.raises(ValueError, match="does not support compute_loss_func"):
        BlockLocalTrainer(*several, lambda *_: None)
