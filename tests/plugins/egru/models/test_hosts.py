"""The models in Trainer, generate(), pipeline, peft and TRL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from transformers import (
    DataCollatorWithFlattening,
    DynamicCache,
    Trainer,
    TrainingArguments,
    pipeline,
)

from evenfall_egru import EgruForCausalLM, EgruForSequenceClassification
from evenfall_egru.text.tokenization import vocabulary, word_tokenizer

TEXTS = ((3, 1, 4, 1, 5), (9,), (2, 6, 5, 3, 5, 8, 9, 7, 9), (3, 2, 3))
ROWS = [{"input_ids": list(text)} for text in TEXTS]
PROMPTS = {"prompt": "the cat sat", "longer": "the dog ran off the mat"}
pytestmark = pytest.mark.filterwarnings("ignore")


def pad(rows: list[dict[str, Any]], left: bool = True) -> dict[str, Any]:
    """Pad the rows, with a mask, and labels for every token but the first of a row."""
    ids = torch.zeros(len(rows), max(len(row["input_ids"]) for row in rows), dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for index, row in enumerate(rows):
        text = torch.tensor(row["input_ids"])
        first = ids.shape[1] - len(text) if left else 0
        place = slice(first, first + len(text))
        ids[index, place], mask[index, place], labels[index, place] = text, 1, text
        labels[index, first] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def arguments(folder: Path, **options: Any) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder), use_cpu=True, max_steps=2, learning_rate=0.05, optim="sgd",
        report_to="none", save_strategy="no", logging_steps=1, disable_tqdm=True,
        **{"per_device_train_batch_size": 4, **options},
    )  # fmt: skip


def train_weights(
    model: Any, folder: Path, rows: Any, collator: Any, **options: Any
) -> dict[str, Any]:
    """Train for two steps over all rows, and return the weights."""
    trainer = Trainer(
        model=model,
        args=arguments(folder, **options),
        train_dataset=rows,
        data_collator=collator,
    )
    trainer.train()
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_training(
    ours: dict[str, Any], theirs: dict[str, Any], start: dict[str, Any]
) -> None:
    """Check that the weights are equal, and that training changed all of them."""
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-5, atol=1e-6, msg=name)
        assert not torch.equal(tensor, start[name]), name


@pytest.mark.parametrize(
    "options",
    [{}, {"return_flash_attn_kwargs": True, "return_seq_idx": True}],
    ids=["plain", "all"],
)
def test_trainer_with_flattened_batches(
    make_egru: Callable[..., Any], tmp_path: Path, options: dict[str, Any]
) -> None:
    """The same weights as from padded batches, also with gradient accumulation."""
    start = make_egru().state_dict()
    collator = DataCollatorWithFlattening(**options)
    want = train_weights(make_egru(), tmp_path, ROWS, pad)
    assert_same_training(train_weights(make_egru(), tmp_path, ROWS, collator), want, start)
    halves = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    assert_same_training(
        train_weights(make_egru(), tmp_path, ROWS, collator, **halves), want, start
    )


@pytest.mark.parametrize("problem", ["classes", "values", "several"])
def test_trainer_accumulates_a_classifiers_loss(
    make_egru: Callable[..., Any], tmp_path: Path, problem: str
) -> None:
    labels, settings = {
        "classes": (torch.tensor([0, 2, 1, 2]), {"num_labels": 3}),
        "values": (torch.tensor([0.5, -1.0, 2.0, 1.0]), {"num_labels": 1}),
        "several": (
            torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]),
            {"num_labels": 2, "problem_type": "multi_label_classification"},
        ),
    }[problem]
    rows = [{**row, "label": label} for row, label in zip(ROWS, labels, strict=True)]

    def collate(part: list[dict[str, Any]]) -> dict[str, Any]:
        return {**pad(part), "labels": torch.stack([row["label"] for row in part])}

    def run(size: int) -> dict[str, Any]:
        model = make_egru(EgruForSequenceClassification, **settings)
        options = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 4 // size}
        return train_weights(model, tmp_path, rows, collate, remove_unused_columns=False, **options)

    start = make_egru(EgruForSequenceClassification, **settings).state_dict()
    assert_same_training(run(2), run(4), start)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return word_tokenizer(vocabulary(["the cat sat on the mat\nthe dog ran off\n"]))


def make_word_model(
    make_egru: Callable[..., Any], tokenizer: Any, model: type = EgruForCausalLM
) -> Any:
    eos = tokenizer.eos_token_id
    return make_egru(
        model, vocab_size=len(tokenizer), embedding_range=1.0, eos_token_id=eos, pad_token_id=eos
    )


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"prefill_chunk_size": 2}])
def test_generate_pads_on_the_left(
    make_egru: Callable[..., Any], tokenizer: Any, options: dict[str, Any]
) -> None:
    """generate() passes [[0, 0, 0, 0, 1, 2], [0, 1, 2, 3, 4, 5]], which does not mean packing."""
    model = make_word_model(make_egru, tokenizer)
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, **options}
    batch = tokenizer(list(PROMPTS.values()), return_tensors="pt", padding=True)
    assert batch["attention_mask"][0].tolist() == [0, 0, 0, 1, 1, 1]
    together = model.generate(**batch, **options)[:, -6:]
    for index, prompt in enumerate(PROMPTS.values()):
        alone = model.generate(**tokenizer(prompt, return_tensors="pt"), **options)[0, -6:]
        assert torch.equal(together[index], alone)
        one = {name: tensor[index : index + 1] for name, tensor in batch.items()}
        assert torch.equal(model.generate(**one, **options)[0, -6:], alone)


def test_generate_refuses_packed_prompts(make_egru: Callable[..., Any], tokenizer: Any) -> None:
    model = make_word_model(make_egru, tokenizer)
    with pytest.raises(ValueError, match=r"position_ids packs 2 texts.* cache"):
        model.generate(
            torch.tensor([[0, 1, 2, 0]]),
            position_ids=torch.tensor([[0, 1, 0, 1]]),
            max_new_tokens=2,
        )


@torch.no_grad()
def test_a_cache_of_other_layers_is_refused(make_egru: Callable[..., Any]) -> None:
    model, ids = make_egru(), torch.tensor([[0, 1, 2]])
    words = r"past_key_values must be DynamicCache\(config=model.config\)"
    with pytest.raises(ValueError, match=words):
        model(ids, past_key_values=DynamicCache())
    attention = DynamicCache()
    for layer in range(2):
        attention.update(torch.zeros(1, 2, 1, 6), torch.zeros(1, 2, 1, 6), layer)
    with pytest.raises(ValueError, match=words):
        model(ids, past_key_values=attention)


def test_pipelines(make_egru: Callable[..., Any], tokenizer: Any) -> None:
    prompts = list(PROMPTS.values())
    write = pipeline(
        "text-generation",
        model=make_word_model(make_egru, tokenizer),
        tokenizer=tokenizer,
        device="cpu",
    )
    options = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
    assert write(prompts, batch_size=2, **options) == [write([p], **options)[0] for p in prompts]
    classify = pipeline(
        "text-classification",
        model=make_word_model(make_egru, tokenizer, EgruForSequenceClassification),
        tokenizer=tokenizer,
        device="cpu",
    )
    alone = [classify(prompt)[0] for prompt in prompts]
    for together, one in zip(classify(prompts, batch_size=2), alone, strict=True):
        assert together["label"] == one["label"]
        assert together["score"] == pytest.approx(one["score"], abs=1e-6)


def test_peft(make_egru: Callable[..., Any]) -> None:
    """LoRA on a layer's matrix: packed texts, their gradients, and generate()."""
    peft = pytest.importorskip("peft")
    lora = {"r": 2, "init_lora_weights": False, "target_modules": []}
    lora["target_parameters"] = ["model.layers.0.kernel"]
    torch.manual_seed(0)
    model = peft.get_peft_model(make_egru(), peft.LoraConfig(task_type="CAUSAL_LM", **lora))
    batch = DataCollatorWithFlattening()(ROWS)
    loss = model(**batch, num_items_in_batch=14).loss
    want = model(**pad(ROWS), num_items_in_batch=14).loss
    torch.testing.assert_close(loss, want)
    learning = [p for p in model.parameters() if p.requires_grad]
    assert len(learning) == 2
    for ours, theirs in zip(
        torch.autograd.grad(loss, learning), torch.autograd.grad(want, learning), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    model.eval()
    tokens = model.generate(input_ids=torch.tensor([[1, 2, 3]]), max_new_tokens=4, do_sample=False)
    merged = model.merge_and_unload()
    want = merged.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=4, do_sample=False)
    assert torch.equal(tokens, want)
    with pytest.raises(TypeError, match="no argument 'attention_maks'"):
        model(torch.tensor([[1]]), attention_maks=1)


@torch.no_grad()
def test_peft_merges_an_adapter_of_the_decoder(make_egru: Callable[..., Any]) -> None:
    """peft adds to `weight.data`, which has no version; the decoder's copy is renewed."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, init_lora_weights=False, target_modules=["lm_head"])
    model = peft.get_peft_model(make_egru(tie_word_embeddings=False), config).eval()
    token = torch.tensor([[1]])
    want, plain = model(token).logits, model.base_model.model(torch.tensor([[1, 1, 1]])).logits
    model.merge_adapter()
    torch.testing.assert_close(model(token).logits, want)
    torch.testing.assert_close(want, plain[:, :1])
    model.unmerge_adapter()
    torch.testing.assert_close(model(token).logits, want)
    torch.testing.assert_close(model.merge_and_unload()(token).logits, want)


def test_skip_logits_reads_an_adapter_of_the_decoder(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, init_lora_weights=False, target_modules=["lm_head"])
    model = peft.get_peft_model(make_egru(tie_word_embeddings=False), config)
    learning = [p for p in model.parameters() if p.requires_grad]
    want = model(ids, labels=ids).loss
    found = model(ids, labels=ids, skip_logits=True)
    assert found.logits is None
    torch.testing.assert_close(found.loss, want)
    for ours, theirs in zip(
        torch.autograd.grad(found.loss, learning), torch.autograd.grad(want, learning), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_trl(make_egru: Callable[..., Any], tokenizer: Any, tmp_path: Path) -> None:
    """SFTTrainer gives the same weights with and without padding."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    table = datasets.table.InMemoryTable.from_pylist(
        [{"input_ids": [i % 9 for i in text]} for text in TEXTS]
    )
    rows = datasets.Dataset(table, fingerprint="texts")
    results = []
    for padding_free in (True, False):
        model = make_word_model(make_egru, tokenizer)
        config = trl.SFTConfig(
            output_dir=str(tmp_path), use_cpu=True, bf16=False, padding_free=padding_free,
            max_length=None, per_device_train_batch_size=4, max_steps=2, learning_rate=0.05,
            optim="sgd", report_to="none", save_strategy="no", gradient_checkpointing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
        )  # fmt: skip
        trainer = trl.SFTTrainer(
            model=model, processing_class=tokenizer, train_dataset=rows, args=config
        )
        trainer.train()
        results.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
    assert_same_training(*results, make_word_model(make_egru, tokenizer).state_dict())


@pytest.mark.parametrize("strategy", ["bfd", "bfd_split"])
def test_trl_packs_texts(
    make_egru: Callable[..., Any], tokenizer: Any, tmp_path: Path, strategy: str
) -> None:
    """SFTTrainer(packing=True): training, evaluation and generation are those of texts alone."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    words = tokenizer.get_vocab()
    texts = [[(i * 5) % len(words) for i in text] for text in TEXTS]
    rows = datasets.Dataset(
        datasets.table.InMemoryTable.from_pylist([{"input_ids": text} for text in texts]),
        fingerprint="texts",
    )
    model = make_word_model(make_egru, tokenizer)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    config = trl.SFTConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, packing=True, max_length=9,
        packing_strategy=strategy, per_device_train_batch_size=4, per_device_eval_batch_size=4,
        max_steps=2, learning_rate=0.05, optim="sgd", report_to="none", save_strategy="no",
        gradient_checkpointing=False, eval_packing=True,
    )  # fmt: skip
    trainer = trl.SFTTrainer(
        model=model, processing_class=tokenizer, train_dataset=rows, eval_dataset=rows, args=config
    )
    trainer.train()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.eval()
    with torch.no_grad():
        losses = [
            model(torch.tensor([text]), labels=torch.tensor([text]), num_items_in_batch=1).loss
            for text in texts
            if len(text) > 1
        ]
    want = float(sum(losses)) / sum(len(text) - 1 for text in texts)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(want, rel=1e-5)
    prompt = {"input_ids": torch.tensor([texts[0]]), "max_new_tokens": 3, "do_sample": False}
    alone = make_word_model(make_egru, tokenizer)
    alone.load_state_dict(start)
    assert_same_training(
        weights,
        train_weights(alone, tmp_path, [{"input_ids": text} for text in texts], pad),
        start,
    )
    assert torch.equal(model.generate(**prompt), alone.eval().generate(**prompt))
