"""The training methods by name in the recipes of EGRU and STREAM, in their real loops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from safetensors.torch import load_file

from evenfall import registry


def zeros_of(folder: Path, ends: tuple[str, ...]) -> tuple[int, int]:
    """(zeros, weights) of the saved matrices whose names end so."""
    weights = load_file(folder / "model.safetensors")
    chosen = [value for name, value in weights.items() if name.endswith(ends)]
    return sum(int((one == 0).sum()) for one in chosen), sum(one.numel() for one in chosen)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("evenfall_egru")
    folder = tmp_path_factory.mktemp("corpus")
    for split, lines in (("train", 40), ("valid", 10)):
        text = "the bank fell\nthe bank will fall again\n" * lines
        (folder / f"{split}.txt").write_text(text, encoding="utf-8")
    return folder


CALLBACKS = {
    "gradual-pruning": {"amount": 0.75, "end": 0.5, "every": 2, "block": "1x4"},
    "rigl": {"amount": 0.75, "every": 2},
    "deep-rewiring": {"amount": 0.75},
}


def egru_recipe(tmp_path: Path, name: str) -> Any:
    file = tmp_path / "recipe.yaml"
    options = ", ".join(f"{key}: {value}" for key, value in CALLBACKS[name].items())
    file.write_text(
        "model: {embedding_size: 8, hidden_sizes: [16, 8]}\nepochs: 2\nbatch_size: 4\nwindow: 8\n"
        f"callbacks:\n  - {name}: {{{options}}}\n",
        encoding="utf-8",
    )
    return registry.trainers.get("egru").load_recipe(file)


@pytest.mark.parametrize("name", sorted(CALLBACKS))
def test_egru_is_trained_sparse(tmp_path: Path, corpus: Path, name: str) -> None:
    trainer = registry.trainers.get("egru")
    best = trainer.train(egru_recipe(tmp_path, name), corpus, tmp_path / "run")
    zeros, weights = zeros_of(best, ("kernel",))
    # Grown weights of the last step may still be zero, and so count as removed here.
    assert 0.75 * weights <= zeros <= 0.85 * weights
    model = registry.checkpoints.get("egru-ptb-small").load_folder(best)[0]
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert (model.lm_head.weight != 0).all()


def test_extended_egru_run_stays_pruned(tmp_path: Path, corpus: Path) -> None:
    trainer, recipe = registry.trainers.get("egru"), egru_recipe(tmp_path, "gradual-pruning")
    trainer.train(replace(recipe, epochs=1), corpus, tmp_path / "run")
    best = trainer.train(recipe, corpus, tmp_path / "run", resume=True)
    zeros, weights = zeros_of(best, ("kernel",))
    assert 0.75 * weights <= zeros <= 0.85 * weights


def test_stream_is_pruned_with_its_average(tmp_path: Path, clouds: Any) -> None:
    training = pytest.importorskip("evenfall_stream.training")
    small = {"width": 8, "depth": 1, "groups": 8, "neighbors": 4, "head": [8]}
    recipe = training.Recipe(
        dataset="small-clouds", model_options=small, epochs=3, batch_size=8, ema_decay=0.5,
        callbacks=[{"gradual-pruning": {"amount": 0.6, "end": 0.5, "every": 1}}],
    )  # fmt: skip
    best = training.train(recipe, tmp_path, tmp_path / "run")
    from evenfall.counting import list_matrices
    from evenfall_stream import StreamClassifier

    model = StreamClassifier.from_pretrained(best)
    weights = [one.weight for one in list_matrices(model) if one.shared_with is None]
    zeros = sum(int((one == 0).sum()) for one in weights)
    assert zeros == round(0.6 * sum(one.numel() for one in weights))


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set of 20 small clouds, known to recipes as `small-clouds`."""
    pytest.importorskip("timm")
    data = pytest.importorskip("torch_geometric.data")
    datasets = pytest.importorskip("evenfall_stream.training").data

    class Clouds(torch.utils.data.Dataset):
        classes = ("segment", "ball")

        def __init__(self, path: Path, split: str = "train") -> None:
            generator = torch.Generator().manual_seed(len(split))
            self.clouds = torch.randn(20, 24, 3, generator=generator) / 2
            self.clouds[::2, :, 1:] = 0

        def __len__(self) -> int:
            return 20

        def __getitem__(self, index: int) -> Any:
            return data.Data(pos=self.clouds[index].clone(), y=torch.tensor([index % 2]))

    monkeypatch.setattr(datasets, "DATASETS", dict(datasets.DATASETS))
    datasets.register_dataset("small-clouds", Clouds)
