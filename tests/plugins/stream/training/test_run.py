"""Training runs on a few small clouds: accuracy, interruption and resume, bad data."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")
pytest.importorskip("accelerate")
pytest.importorskip("timm")

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch_geometric.data import Data

from evenfall_stream import EventStreamClassifier, StreamClassifier
from evenfall_stream.training import (
    Recipe,
    data,
    evaluate,
    load_recipe,
    logits,
    run,
    train,
)
from evenfall_stream.training.evaluation import evaluate_recipe, main_first

SMALL = {"width": 16, "depth": 1, "groups": 8, "neighbors": 4, "head": [8], "drop_path": 0.1}


pytestmark = pytest.mark.usefixtures("shapes")


def recipe(**changes: Any) -> Recipe:
    base = Recipe(
        dataset="shapes", model_options=SMALL, epochs=3, batch_size=8, learning_rate=1e-2,
        augmentation=[{"RandomShift": {"most": 0.1}}, {"RandomJitter": {"translate": 0.01}}],
        warmup_epochs=1, label_smoothing=0.1, seed=3,
    )  # fmt: skip
    return replace(base, **changes)


def log(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "model.safetensors")


def assert_same_run(one: Path, other: Path) -> None:
    drop = {"seconds"}
    first, second = (
        [{k: v for k, v in line.items() if k not in drop} for line in log(o)] for o in (one, other)
    )
    assert first == second
    for folder in (one / "best", other / "best"):
        assert folder.is_dir()
    a, b = weights(one / "best"), weights(other / "best")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    (a_last,), (b_last,) = one.glob("checkpoint-*"), other.glob("checkpoint-*")
    assert a_last.name == b_last.name
    a, b = weights(a_last), weights(b_last)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_and_keeps_the_best(tmp_path: Path, shapes: type[Any]) -> None:
    best = train(recipe(epochs=20), tmp_path, tmp_path / "run")
    lines = log(tmp_path / "run")
    assert [line["epoch"] for line in lines] == list(range(1, 21))
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[0]["learning_rate"] < lines[2]["learning_rate"] > lines[-1]["learning_rate"]
    model = StreamClassifier.from_pretrained(best)
    assert model.class_names == ["segment", "ball"]
    scores = evaluate(model, shapes(tmp_path, "valid"))
    assert scores["accuracy"] == max(line["valid_accuracy"] for line in lines) >= 0.9
    assert load_recipe(best / "recipe.yaml") == recipe(epochs=20)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "best", "checkpoint-20", "log.jsonl", "recipe.yaml",
    ]  # fmt: skip


class Killed(BaseException):
    pass


# In the first epoch, before anything is saved; in a later one; while the checkpoint is written.
@pytest.mark.parametrize("place", ["step 1", "step 3", "checkpoint"])
def test_a_resumed_run_goes_on_as_if_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    choices = recipe(ema_decay=0.9)
    train(choices, tmp_path, tmp_path / "whole")
    calls = []

    def killing(original: Any, at: int) -> Any:
        def call(*args: Any) -> Any:
            calls.append(1)
            if len(calls) == at:
                raise Killed
            return original(*args)

        return call

    with monkeypatch.context() as patch:
        if place == "checkpoint":
            patch.setattr(run, "save_checkpoint", killing(run.save_checkpoint, 2))
        else:
            patch.setattr(run._Run, "_descend", killing(run._Run._descend, int(place[-1]) + 1))
        with pytest.raises(Killed):
            train(choices, tmp_path, tmp_path / "broken")
    train(choices, tmp_path, tmp_path / "broken", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_a_run_that_is_over_is_left_as_it_is(tmp_path: Path) -> None:
    train(recipe(epochs=1), tmp_path, tmp_path / "run")
    before = (tmp_path / "run" / "log.jsonl").read_text()
    assert train(recipe(epochs=1), tmp_path, tmp_path / "run", resume=True).is_dir()
    with pytest.raises(FileExistsError, match="run already contains a run; use --resume"):
        train(recipe(epochs=1), tmp_path, tmp_path / "run")
    with pytest.raises(ValueError, match=r"whose recipe differs in \['epochs', 'seed'\]"):
        train(recipe(epochs=2, seed=4), tmp_path, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "log.jsonl").read_text() == before


@pytest.mark.parametrize("left", [0, 100, None])
@pytest.mark.parametrize(
    "name", ["model.safetensors", "average.safetensors", "optimizer.json", "progress.json"]
)
def test_a_damaged_checkpoint_is_named(tmp_path: Path, name: str, left: int | None) -> None:
    choices = recipe(epochs=1, ema_decay=0.9)
    train(choices, tmp_path, tmp_path / "run")
    file = tmp_path / "run" / "checkpoint-1" / name
    if left is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: min(left, file.stat().st_size - 1)])
    with pytest.raises(ValueError, match=r"checkpoint .*checkpoint-1 cannot be read"):
        train(choices, tmp_path, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("writer", "error"), [("save_model", SafetensorError), ("write_state", RuntimeError)]
)
def test_a_full_disk_is_one_error_that_leaves_no_half_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, error: type[Exception]
) -> None:
    def full(_: Any, file: Any, *state: Any) -> None:
        if not state:
            Path(file).write_bytes(b"half")
        raise error("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"evenfall_stream.training.checkpoints.{writer}", full)
        with pytest.raises(OSError, match="checkpoint-1 cannot be written: No space left"):
            train(recipe(), tmp_path, tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "best", "log.jsonl", "recipe.yaml",
    ]  # fmt: skip
    train(recipe(), tmp_path, tmp_path / "run", resume=True)
    train(recipe(), tmp_path, tmp_path / "whole")
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_an_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(FileExistsError, match="run must be a folder, but is a file"):
        train(recipe(), tmp_path, tmp_path / "run")


def test_without_validation_the_last_epoch_is_kept(tmp_path: Path) -> None:
    best = train(recipe(valid_split=None, epochs=2), tmp_path, tmp_path / "run")
    assert "valid_accuracy" not in log(tmp_path / "run")[0]
    last = weights(tmp_path / "run" / "checkpoint-2")
    assert all(torch.equal(value, last[name]) for name, value in weights(best).items())


def test_the_card_of_the_best_model_names_its_folder(tmp_path: Path) -> None:
    best = train(recipe(epochs=1), tmp_path, tmp_path / "run")
    assert 'from_pretrained("best")' in (best / "README.md").read_text()


def test_a_best_model_that_was_removed_is_told(tmp_path: Path) -> None:
    shutil.rmtree(train(recipe(epochs=1), tmp_path, tmp_path / "run"))
    with pytest.raises(FileNotFoundError, match="run has lost best/, the model of the finished"):
        train(recipe(epochs=1), tmp_path, tmp_path / "run", resume=True)


def test_examples_do_not_depend_on_who_reads_them(tmp_path: Path, shapes: type[Any]) -> None:
    from evenfall_stream.transforms.pipeline import make_transforms

    jitter = make_transforms([{"RandomJitter": {"translate": 0.1}}])
    examples = data.Examples(shapes(tmp_path), jitter, seed=1)
    state = torch.get_rng_state()
    first, later = examples[(0, 5)].pos, examples[(1, 5)].pos
    torch.rand(3)
    assert torch.equal(examples[(0, 5)].pos, first)
    assert not torch.equal(first, later)
    torch.set_rng_state(state)
    examples[(0, 5)]
    assert torch.equal(torch.get_rng_state(), state)


def test_ranks_share_each_batch() -> None:
    whole, *shares = (
        data.ShuffledBatches(21, 8, 0, rank, ranks) for rank, ranks in ((0, 1), (0, 2), (1, 2))
    )
    for sampler in (whole, *shares):
        sampler.epoch = 4
    assert len(whole) == len(list(whole)) == 2
    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(batch) == sorted(key for part in parts for key in part)
        assert {epoch for epoch, _ in batch} == {4}
    whole.epoch = 5
    assert [i for b in whole for _, i in b] != [i for b in shares[0] for _, i in b]


@dataclass
class Rank:
    """What `main_first` needs of an Accelerator, in a thread."""

    is_local_main_process: bool
    barrier: threading.Barrier

    def wait_for_everyone(self) -> None:
        self.barrier.wait(timeout=3600)


@pytest.mark.parametrize("fails", [False, True])
def test_one_rank_opens_the_data_before_the_others(fails: bool) -> None:
    opened = []

    def open_as(rank: Rank) -> None:
        with main_first(rank):
            opened.append(rank.is_local_main_process)
            if fails:
                raise ValueError("no data")

    barrier = threading.Barrier(3)
    with ThreadPoolExecutor(3) as ranks:
        jobs = [ranks.submit(open_as, Rank(main, barrier)) for main in (False, False, True)]
    assert opened == [True, False, False]
    assert all(isinstance(job.exception(), ValueError) == fails for job in jobs)


def test_batches_that_ranks_cannot_share() -> None:
    with pytest.raises(ValueError, match=r"batch_size must be a multiple of the 2 ranks, got 9"):
        data.ShuffledBatches(21, 9, 0, 0, 2)
    with pytest.raises(ValueError, match="must have an example per rank, at least 2, got 1"):
        data.ShuffledBatches(1, 8, 0, 0, 2)
    assert len(list(data.ShuffledBatches(3, 8, 0))) == 1


class Constant(torch.nn.Module):
    """Class 0, always."""

    def forward(self, pos: Any, batch: Any = None, x: Any = None, batch_size: Any = None) -> Any:
        return torch.tensor([[1.0, 0.0, -1.0]]).expand(batch_size, 3)


def test_evaluation_counts(tmp_path: Path, shapes: type[Any]) -> None:
    model = Constant().train()
    scores = evaluate(model, shapes(tmp_path, count=7), batch_size=3, classes=["a", "b", "c"])
    assert scores["examples"] == 7
    assert scores["accuracy"] == pytest.approx(4 / 7)
    assert scores["confusion"] == [[4, 0, 0], [3, 0, 0], [0, 0, 0]]
    assert scores["class_accuracy"] == {"a": 1.0, "b": 0.0, "c": None}
    assert scores["mean_class_accuracy"] == 0.5
    assert scores["examples_per_second"] > 0
    chances = torch.tensor([1.0, 0.0, -1.0]).softmax(0)
    expected = -(4 * chances[0].log() + 3 * chances[1].log()) / 7
    assert scores["loss"] == pytest.approx(float(expected))
    assert model.training


def test_votes_average_probabilities(tmp_path: Path, shapes: type[Any]) -> None:
    from evenfall_stream.transforms.pipeline import make_transforms

    class Height(torch.nn.Module):
        def forward(
            self, pos: Any, batch: Any = None, x: Any = None, batch_size: Any = None
        ) -> Any:
            return torch.stack([pos[:, 0].view(-1, 24).mean(1), pos.new_zeros(batch_size)], 1)

    shift = make_transforms([{"RandomShift": {"most": 5.0}}])
    two, one, other = (
        evaluate(Height(), shapes(tmp_path, count=2), transform=shift, votes=votes, seed=seed)
        for votes, seed in ((2, 0), (1, 0), (1, 1))
    )
    assert two["examples"] == 2
    assert one["loss"] != other["loss"]
    assert min(one["loss"], other["loss"]) < two["loss"] < max(one["loss"], other["loss"])


def test_events_and_points_go_the_same_way(tmp_path: Path) -> None:
    from torch_geometric.data import Batch

    events = Data(x=torch.ones(5, 1), pos=torch.arange(10.0).view(5, 2), y=torch.tensor([0]))
    model = EventStreamClassifier(2, [16], widths=[8], depths=[1], strides=[2])
    assert logits(model, Batch.from_data_list([events, events])).shape == (2, 2)
    empty = Data(x=torch.ones(0, 1), pos=torch.ones(0, 2), y=torch.tensor([0]))
    alone, last = logits(model.eval(), Batch.from_data_list([events, empty]))
    assert torch.allclose(alone, logits(model, Batch.from_data_list([events]))[0], atol=1e-6)
    assert torch.allclose(last, logits(model, Batch.from_data_list([empty]))[0], atol=1e-6)


def test_an_empty_recording_last_in_a_batch_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Recordings(list):  # type: ignore[type-arg]
        classes = ("some", "none")

        def __init__(self, path: Path, split: str) -> None:
            items = [
                Data(x=torch.ones(n, 1), pos=torch.arange(2.0 * n).view(n, 2), y=torch.tensor([y]))
                for n, y in ((5, 0), (0, 1)) * 4
            ]
            super().__init__(items)

    monkeypatch.setitem(data.DATASETS, "half empty", data._Source(Recordings, {}))
    options = {"sensor_size": [16], "widths": [8], "depths": [1], "strides": [2]}
    choices = recipe(task="events", model=None, dataset="half empty", model_options=options,
                     augmentation=[], epochs=1, batch_size=1)  # fmt: skip
    assert train(choices, tmp_path, tmp_path / "run").is_dir()
    assert log(tmp_path / "run")[0]["loss"] > 0


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    wild = recipe(optimizer="sgd", learning_rate=1e30, max_grad_norm=None, warmup_epochs=0)
    with pytest.raises(
        (FloatingPointError, ValueError), match=r"loss must be finite, got nan|must be finite"
    ):
        train(wild, tmp_path, tmp_path / "run")


def test_other_classes_than_the_model_s(tmp_path: Path, shapes: type[Any]) -> None:
    small = {"width": 8, "depth": 1, "groups": 4, "neighbors": 2}
    other = StreamClassifier(2, class_names=["ball", "segment"], **small)
    with pytest.raises(
        ValueError, match=r"the model's classes \['ball', 'segment'\] differ from the dataset's"
    ):
        evaluate_recipe(other, recipe(), tmp_path, "test")
    with pytest.raises(ValueError, match="the model has 3 classes, but the dataset has 2"):
        evaluate_recipe(StreamClassifier(3, **small), recipe(), tmp_path, "test")
    wrong = shapes(tmp_path, count=2)
    wrong.items[1].y += 1
    with pytest.raises(ValueError, match="y must be classes from 0 to 1, got 0 to 2"):
        evaluate(StreamClassifier(2, **small), wrong)


def test_no_examples(shapes: type[Any]) -> None:
    with pytest.raises(ValueError, match="dataset has no examples"):
        evaluate(Constant(), shapes(Path(), count=0))


def test_a_name_is_of_one_data_set(shapes: type[Any]) -> None:
    data.register_dataset("shapes", shapes)
    with pytest.raises(
        ValueError, match="name must be new, got 'nmnist', which is another data set"
    ):
        data.register_dataset("nmnist", shapes)


def test_recordings_are_mixed(tmp_path: Path) -> None:
    class Ticks(torch.utils.data.Dataset):
        """Recordings of one of two channels."""

        classes = ("low", "high")

        def __init__(self, path: Path, split: str = "train") -> None:
            self.items = []
            for index in range(12):
                channel = 8 * (index % 2)
                pos = torch.stack([torch.arange(20.0), torch.full((20,), channel)], 1)
                y = torch.tensor([index % 2])
                self.items.append(Data(x=torch.ones(20, 1), pos=pos, y=y))

        def __len__(self) -> int:
            return len(self.items)

        def __getitem__(self, index: int) -> Data:
            return self.items[index].clone()

    data.register_dataset("ticks", Ticks)
    options = {"sensor_size": [16], "widths": [8], "depths": [1], "strides": [4]}
    choices = recipe(
        task="events", model=None, dataset="ticks", model_options=options, cut_mix=1.0,
        augmentation=[{"DropEvents": {"p": 0.1}}], epochs=10, label_smoothing=0.0,
    )  # fmt: skip
    best = train(choices, tmp_path, tmp_path / "run")
    lines = log(tmp_path / "run")
    assert lines[-1]["valid_accuracy"] == 1.0
    assert lines[-1]["loss"] > lines[-1]["valid_loss"]
    assert EventStreamClassifier.from_pretrained(best).num_classes == 2
