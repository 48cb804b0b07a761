"""Samples of runs: text, registered data sets, and the models that fit them; the trainer."""

from __future__ import annotations

import dataclasses
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from evenfall import registry
from evenfall.owners import Owner
from evenfall.runs import Callback
from evenfall.trainers import Trainer
from evenfall_blocklocal.training import Recipe, compare_rules
from evenfall_blocklocal.training.arrays import ArraySource
from evenfall_blocklocal.training.evaluation import measure
from evenfall_blocklocal.training.networks import make_network
from evenfall_blocklocal.training.opening import open_source
from evenfall_blocklocal.training.text import TextSource

OWNER = Owner("test")
TEXTS = {"train": "a b a b\nb a b\n" * 20, "test": "a b c\nb a\n" * 8}
MODEL = {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 5, "use_cache": False,
         "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 0}  # fmt: skip
TEXT = Recipe(
    data="text", model="GPT2LMHeadModel", model_options=MODEL, window=4, batch_size=8, epochs=1,
    boundaries=("transformer.h.0",), options={"latent": 8, "hidden": 8},
)  # fmt: skip


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for split, text in TEXTS.items():
        (folder / f"tiny.{split}.txt").write_text(text)
    return folder


class Recordings:
    """Six recordings of one channel more each, of three classes."""

    classes = ("x", "y", "z")

    def __init__(self, path: object, split: str, count: int = 6) -> None:
        self.numbers = range(count) if split == "train" else range(count, count + 3)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        number = self.numbers[index]
        return {
            "t": np.arange(number + 1) * 1000,
            "x": np.full(number + 1, number),
            "p": np.zeros(number + 1, np.int64),
            "label": np.array(number % 3),
        }


@pytest.fixture
def recordings() -> Iterator[None]:
    registry.datasets.add("tiny-events", f"{__name__}:Recordings", OWNER, contents="events")
    registry.datasets.add("tiny-frames", f"{__name__}:Recordings", OWNER, contents="frames")
    yield
    registry.datasets.remove_owner(OWNER)


def test_a_causal_model_predicts_each_word_once(corpus: Path) -> None:
    source = TextSource(corpus, ("train", "test"), 4)
    words = [w for line in TEXTS["train"].splitlines() for w in (*line.split(), "<eos>")]
    assert source.sizes == {"train": (len(words) - 1) // 4, "test": (7 * 8 - 1) // 4}
    assert source.outputs == len({*words, "<unk>"})
    tokens = source.batch("train", torch.arange(source.sizes["train"])).target
    predicted = tokens[:, 1:].flatten().tolist()
    known = list(dict.fromkeys(["<unk>", *words]))
    assert [known[i] for i in predicted] == words[1 : 1 + len(predicted)]
    assert source.batch("test", torch.tensor([0])).target[0].tolist()[2] == 0  # c is unknown


def test_a_text_may_be_in_an_archive(corpus: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "corpus.zip", "w") as archive:
        for path in corpus.iterdir():
            archive.write(path, f"data/{path.name}")
            archive.writestr(f"__MACOSX/._{path.name}", "no text")
    plain, packed = (TextSource(p, ("train", "test"), 4) for p in (corpus, tmp_path / "corpus.zip"))
    assert torch.equal(plain.tokens["test"], packed.tokens["test"])
    with pytest.raises(FileNotFoundError, match="no text file for 'valid'"):
        TextSource(corpus, ("train", "valid"), 4)
    with pytest.raises(ValueError, match="'test' has no window of 99"):
        TextSource(corpus, ("train", "test"), 99)
    (corpus / "other.test.txt").write_text("a")
    with pytest.raises(ValueError, match="several files for 'test'"):
        TextSource(corpus, ("train", "test"), 4)


def test_perplexity_is_that_of_every_window(corpus: Path) -> None:
    pytest.importorskip("transformers")
    source = TextSource(corpus, ("train", "test"), 4)
    model = make_network("GPT2LMHeadModel", source, **MODEL).eval()
    tokens = source.batch("test", torch.arange(source.sizes["test"])).target
    with torch.no_grad():
        likely = model(tokens).logits.log_softmax(-1)[:, :-1]
    wanted = math.exp(-float(likely.gather(2, tokens[:, 1:, None]).double().mean()))
    assert measure(model, source, "test", 3) == pytest.approx(wanted, rel=1e-4)


def test_rules_are_compared_by_perplexity(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    comparison = compare_rules(TEXT, ["bll", "backprop"], corpus, tmp_path / "runs")
    assert comparison.metric == "perplexity"
    rows = comparison.rows()
    assert all(1 < row["test_perplexity"] < 10 for row in rows)
    assert "test perplexity" in comparison.table()
    log = (tmp_path / "runs" / "bll-0" / "log.jsonl").read_text()
    assert json.loads(log)["perplexity"] > 1
    trainer = registry.trainers.get("blocklocal")
    found = trainer.evaluate(tmp_path / "runs" / "bll-0" / "best", corpus, "test")
    assert found == {"perplexity": pytest.approx(rows[0]["test_perplexity"])}
    tied = dataclasses.replace(
        TEXT, model_options=MODEL | {"tie_word_embeddings": True}, tied="last"
    )
    best = trainer.train(tied, corpus, tmp_path / "tied")
    result = json.loads((best / "result.json").read_text())["test_perplexity"]
    assert trainer.evaluate(best, corpus, "test") == {"perplexity": pytest.approx(result)}


def test_a_name_that_the_configuration_of_a_model_does_not_have_is_refused(corpus: Path) -> None:
    pytest.importorskip("transformers")
    source = TextSource(corpus, ("train", "test"), 4)
    with pytest.raises(ValueError, match=r"GPT2LMHeadModel has no 'n_emdb'. Closest: 'n_embd'"):
        make_network("GPT2LMHeadModel", source, n_emdb=8)


@pytest.mark.usefixtures("recordings")
def test_events_become_the_arguments_of_a_model() -> None:
    source = ArraySource("tiny-events", ".", ("train", "test"))
    assert (source.sizes, source.outputs) == ({"train": 6, "test": 3}, 3)
    batch = source.batch("train", torch.tensor([2, 0]))
    assert batch.target.tolist() == [2, 0]
    assert batch.kwargs["batch"].tolist() == [0, 0, 0, 1]
    assert batch.kwargs["batch_size"] == 2
    assert batch.kwargs["pos"].tolist() == [[0, 2], [1, 2], [2, 2], [0, 0]]  # ms, channel
    assert batch.kwargs["x"].shape == (4, 1)


@pytest.mark.usefixtures("recordings")
def test_batches_come_on_the_device_of_the_source() -> None:
    source = ArraySource("tiny-events", ".", ("train", "test"))
    source.device = torch.device("meta")
    batch = source.batch("test", torch.tensor([0]))
    tensors = [batch.target, *(v for v in batch.kwargs.values() if isinstance(v, torch.Tensor))]
    assert len(tensors) == 4
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert batch.kwargs["batch_size"] == 1


def test_a_run_is_on_the_gpu_if_there_is_one(corpus: Path, monkeypatch) -> None:
    for available, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=available: found)
        assert open_source(TEXT, corpus).device.type == device


@pytest.mark.usefixtures("recordings")
def test_every_sample_is_tested_in_one_fold() -> None:
    tested = []
    for fold in range(4):
        source = ArraySource("tiny-events", ".", ("train", "test"), 4, fold)
        held = [int(one["pos"][0, 1]) for one in source.samples["test"]]
        assert not {*held} & {int(one["pos"][0, 1]) for one in source.samples["train"]}
        tested += held
    assert sorted(tested) == list(range(9))


@pytest.mark.usefixtures("recordings")
def test_data_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data must be one of .*, tiny-events.*got 'digits'"):
        open_source(Recipe(data="digits"), tmp_path)
    source = ArraySource("tiny-events", ".", ("train", "test"))
    with pytest.raises(ValueError, match="'mlp' takes images, but the data has none"):
        make_network("mlp", source)
    with pytest.raises(ValueError, match="GPT2LMHeadModel takes text"):
        make_network("GPT2LMHeadModel", source)
    with pytest.raises(ValueError, match="must contain points or events, got frames"):
        ArraySource("tiny-frames", ".", ("train", "test"))
    with pytest.raises(ValueError, match=r"data_options of 'tiny-events': .*number"):
        ArraySource("tiny-events", ".", ("train", "test"), number=0)
    with pytest.raises(ValueError, match="'train' of data 'tiny-events' has no samples"):
        ArraySource("tiny-events", ".", ("train", "test"), count=0)


class Count(Callback):
    """Counts the steps, over interruptions."""

    steps = 0

    def on_step_end(self, context: object) -> None:
        self.steps += 1

    def state_dict(self) -> dict[str, int]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]

    def counts_as_best(self) -> bool:
        return self.steps == 8


def test_the_trainer_evaluates_what_it_trained(digits: Path, tmp_path: Path) -> None:
    trainer = registry.trainers.get("blocklocal")
    assert isinstance(trainer, Trainer)
    recipe = Recipe(
        data="mnist", model="mlp", model_options={"width": 16, "depth": 2}, boundaries=("1", "2"),
        options={"latent": 8, "hidden": 16}, epochs=2, batch_size=32,
        callbacks=[f"{__name__}:Count"],
    )  # fmt: skip
    best = trainer.train(recipe, digits, tmp_path / "run")  # 4 steps an epoch
    result = json.loads((best / "result.json").read_text())
    for split in ("train", "test"):
        assert trainer.evaluate(best, digits, split) == {"accuracy": result[f"{split}_accuracy"]}
    with pytest.raises(ValueError, match="split must be one of"):
        trainer.evaluate(best, digits, "valid")
    with pytest.raises(FileNotFoundError, match="it is not the best/ folder of a run"):
        trainer.evaluate(tmp_path, digits, "test")
    more = dataclasses.replace(recipe, epochs=3)
    with pytest.raises(RuntimeError, match="counts_as_best is False for"):
        trainer.train(more, digits, tmp_path / "run", resume=True)
