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


@pytest.mark.parametrize("option", ["gradient_checkpointing", "neftune_noise_alpha"])
def test_flags_that_change_the_model_are_refused(tmp_path, option: str) -> None:
    with pytest.raises(ValueError, match=f"does not support {option}"):
        make_trainer(tmp_path, make_local(), **{option: True})


def test_a_batch_without_labels_is_refused(tmp_path) -> None:
    trainer = make_trainer(tmp_path, make_local())
    trainer.train_dataset = [{"input_ids": row["input_ids"]} for row in rows()]
    with pytest.raises(ValueError, match=r"needs labels, got a batch of \['input_ids'\]"):
        trainer.train()


def test_the_scale_of_losses_ends_with_the_step(tmp_path) -> None:
    local = make_local()
    make_trainer(tmp_path, local, gradient_accumulation_steps=2, save_strategy="no").train()
    assert local.scale_loss is None
    ids = rows()[0]["input_ids"][None]
    local.train()(input_ids=ids, labels=ids).loss.backward()


def test_predictions_leave_out_the_cache(tmp_path) -> None:
    local = make_local()
    trainer = make_trainer(tmp_path, local)
    assert trainer.predict(rows(4)).predictions.shape == (4, 6, 20)


def test_the_loss_of_evaluation_is_the_criterions(tmp_path) -> None:
    local = make_local()
    local.criterion = lambda output, target: output.logits.new_full((), 7.0)
    assert make_trainer(tmp_path, local).evaluate()["eval_loss"] == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rule": "bll-kl"}, "rule 'bll'"), ({"family": "gaussian"}, "family None")],
)
def test_a_checkpoint_of_another_rule_is_refused(tmp_path, options: Any, message: str) -> None:
    make_trainer(tmp_path, make_local(), save_steps=2, max_steps=2).train()
    other = BlockLocal(make_local().model, 3, **({"latent": 8, "hidden": 16, "seed": 1} | options))
    with pytest.raises(ValueError, match=f"was saved with {message}"):
        make_trainer(tmp_path, other).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


def test_adapters_resume(tmp_path) -> None:
    peft = pytest.importorskip("peft")
    found = []
    for folder in ("whole", "again"):
        config = peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True)
        torch.manual_seed(0)
        model = peft.get_peft_model(make_local().model, config)
        torch.manual_seed(1)
        local = BlockLocal(model, 3, latent=8, hidden=16, seed=1)
        trainer = make_trainer(tmp_path / folder, local, save_steps=2)
        first = str(tmp_path / "whole" / "checkpoint-2") if found else None
        trainer.train(resume_from_checkpoint=first)
        found.append(weights(local))
    assert_close(found[1], found[0], rtol=0, atol=0)
