"""Saved models: contents of the folder, loading, errors."""

from __future__ import annotations

import copy
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")
pytest.importorskip("torch_geometric")
pytest.importorskip("timm")

from safetensors.torch import load_file, save_file

from evenfall_stream import (
    EventStreamClassifier,
    StreamClassifier,
    StreamConv,
    StreamSegmenter,
)
from evenfall_stream.models.arguments import argument_names, call_arguments, plain

SMALL = {"width": 16, "depth": 1, "groups": 8, "neighbors": 4, "head": (8,)}


def cloud_model(**options: Any) -> StreamClassifier:
    torch.manual_seed(0)
    return StreamClassifier(3, **{**SMALL, **options}).eval()


def event_model() -> EventStreamClassifier:
    torch.manual_seed(0)
    return EventStreamClassifier(
        2, (4, 3), frequencies=2, widths=(8, 8), depths=(1, 1), strides=(2, 2), head="time",
        length_scale=(1.0, 9.0), mlp_ratio=1.0, d_conv=2,
    ).eval()  # fmt: skip


def config_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())


def rewrite(folder: Path, **changes: Any) -> None:
    (folder / "config.json").write_text(json.dumps({**config_of(folder), **changes}))


def test_a_folder_holds_config_weights_and_card(tmp_path: Path) -> None:
    cloud_model(class_names=("a", "b", "c"), mlp_ratio=2.0, axes=(0, 2)).save_pretrained(
        tmp_path / "model"
    )
    config = config_of(tmp_path / "model")
    assert config["model_type"] == "stream-classifier"
    assert config["evenfall_stream_version"] == version("evenfall-stream")
    assert config["class_names"] == ["a", "b", "c"]
    assert config["num_classes"] == 3
    assert config["head"] == [8]
    assert config["mlp_ratio"] == 2.0
    assert config["axes"] == [0, 2]
    card = (tmp_path / "model" / "README.md").read_text()
    assert 'StreamClassifier.from_pretrained("model")' in card
    assert "a, b, c" in card
    assert {file.name for file in (tmp_path / "model").iterdir()} == {
        "config.json", "model.safetensors", "README.md",
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_round_trip_is_exact(tmp_path: Path, dtype: torch.dtype) -> None:
    for number, model in enumerate((cloud_model(groups=None, mlp_ratio=1.0), event_model())):
        folder = tmp_path / str(number)
        model.to(dtype).save_pretrained(folder)
        back = type(model).from_pretrained(folder)
        assert not back.training
        for (name, expected), (other, result) in zip(
            model.state_dict().items(), back.state_dict().items(), strict=True
        ):
            assert name == other
            assert expected.dtype == result.dtype
            assert torch.equal(expected, result)
        assert repr(back) == repr(model)
        back.save_pretrained(tmp_path / f"{number}-again")
        assert config_of(tmp_path / f"{number}-again") == config_of(folder)


def test_outputs_come_back(tmp_path: Path) -> None:
    model = event_model()
    model.save_pretrained(tmp_path / "model")
    back = EventStreamClassifier.from_pretrained(tmp_path / "model")
    time = torch.rand(9).cumsum(0)
    pos = torch.stack([time, torch.randint(4, (9,)), torch.randint(3, (9,))], 1)
    x = torch.randint(2, (9, 1)).float()
    torch.testing.assert_close(back(x, pos), model(x, pos), rtol=0, atol=1e-6)
    back.train()
    back(x, pos).sum().backward()
    assert all(p.grad is not None for n, p in back.named_parameters() if "classify" in n)


def test_positional_and_numpy_arguments_are_kept(tmp_path: Path) -> None:
    model = EventStreamClassifier(np.int64(3), torch.Size([4, 2]), widths=[8], depths=[1],
                                  strides=np.array([2]))  # fmt: skip
    model.save_pretrained(tmp_path / "model")
    config = config_of(tmp_path / "model")
    assert config["num_classes"] == 3
    assert config["sensor_size"] == [4, 2]
    assert config["strides"] == [2]
    assert EventStreamClassifier.from_pretrained(tmp_path / "model").sensor_size == (4, 2)


def test_what_json_cannot_keep_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="length_scale\\[1\\] must be finite"):
        plain("length_scale", (1.0, float("inf")))
    with pytest.raises(TypeError, match=r"class_names must be .* got Tensor"):
        call_arguments(StreamClassifier, (3,), {"class_names": torch.ones(2)})


LAYER = {
    "axes", "bidirectional", "separate_weights", "combine", "step", "discretization",
    "length_scale", "d_state", "d_conv", "expand", "dt_rank", "presorted", "bias", "mlp_ratio",
}  # fmt: skip


@pytest.mark.parametrize(
    ("make", "absent", "values"),
    [
        (cloud_model, set(), {"step": "coordinate", "length_scale": [0.1, 2.0], "d_state": 16}),
        (lambda: cloud_model(architecture="pointmamba"), set(), {"step": "learned"}),
        (lambda: cloud_model(architecture="pointnet"), LAYER, {}),
        (lambda: cloud_model(layout="sequence", combine="mean"), {"axes", "combine"}, {}),
        (lambda: StreamSegmenter(3, width=8, depth=1, d_state=4), set(), {"d_state": 4}),
        (event_model, {"presorted"}, {"length_scale": [1.0, 9.0], "d_conv": 2, "mlp_ratio": 1.0}),
    ],
)
def test_every_option_of_the_layers_is_stated(
    tmp_path: Path, make: Any, absent: set[str], values: dict[str, Any]
) -> None:
    model = make()
    model.save_pretrained(tmp_path / "model")
    config = config_of(tmp_path / "model")
    assert {*argument_names(type(model))} - {*config} <= absent | {"dimensions"}
    assert LAYER - {*config} == absent
    assert config | values == config
    back = type(model).from_pretrained(tmp_path / "model")
    assert repr(back) == repr(model)
    assert back._hub_mixin_config == model._hub_mixin_config


def test_a_default_that_changes_leaves_saved_models_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = cloud_model()
    model.save_pretrained(tmp_path / "model")
    defaults = {**StreamConv.__init__.__kwdefaults__, "d_state": 5, "discretization": "dirac"}
    monkeypatch.setattr(StreamConv.__init__, "__kwdefaults__", defaults)
    assert cloud_model()._hub_mixin_config["d_state"] == 5
    back = StreamClassifier.from_pretrained(tmp_path / "model")
    assert repr(back) == repr(model)
    torch.testing.assert_close(back.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_a_folder_that_lacks_options_of_the_layers_loads_and_is_completed(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model = cloud_model(d_state=4)
    model.save_pretrained(folder)
    whole = config_of(folder)
    older = {name: one for name, one in whole.items() if name not in LAYER - {"d_state"}}
    (folder / "config.json").write_text(json.dumps(older))
    back = StreamClassifier.from_pretrained(folder)
    assert repr(back) == repr(model)
    back.save_pretrained(folder)
    assert config_of(folder) == whole


class Wide(StreamClassifier):
    """A user's model, with an `__init__` of its own."""

    def __init__(self, num_classes: int, times: int = 1, **block: Any) -> None:
        super().__init__(num_classes, **{**SMALL, "width": 16 * times}, mlp_ratio=1.0, **block)


def test_a_subclass_states_its_own_arguments(tmp_path: Path) -> None:
    model = Wide(3, times=2, d_state=4)
    model.save_pretrained(tmp_path / "model")
    assert model._hub_mixin_config == {"num_classes": 3, "times": 2, "d_state": 4}
    assert repr(Wide.from_pretrained(tmp_path / "model")) == repr(model.eval())


def test_a_copy_keeps_its_arguments() -> None:
    model = cloud_model(mlp_ratio=1.0)
    assert copy.deepcopy(model)._hub_mixin_config == model._hub_mixin_config


def test_a_folder_that_exists_keeps_its_other_files(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "recipe.yaml").write_text("epochs: 1")
    cloud_model().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    assert (tmp_path / "recipe.yaml").exists()
    cloud_model(width=8).save_pretrained(tmp_path)
    assert StreamClassifier.from_pretrained(tmp_path)._hub_mixin_config["width"] == 8


def test_a_save_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="config"):
        cloud_model().save_pretrained(tmp_path / "model", config={"width": object()})
    assert not list(tmp_path.iterdir())


def test_another_class_is_named(tmp_path: Path) -> None:
    cloud_model().save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=r"load it with StreamClassifier.from_pretrained"):
        EventStreamClassifier.from_pretrained(tmp_path / "model")


def test_arguments_replace_those_of_the_file(tmp_path: Path) -> None:
    cloud_model().save_pretrained(tmp_path / "model")
    assert StreamClassifier.from_pretrained(tmp_path / "model", dropout=0.1).head[3].p == 0.1
    with pytest.raises(ValueError, match="do not match the model"):
        StreamClassifier.from_pretrained(tmp_path / "model", width=32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_other_classes_keep_all_but_the_last_layer(tmp_path: Path, dtype: torch.dtype) -> None:
    model = cloud_model(class_names=["a", "b", "c"]).to(dtype)
    model.save_pretrained(tmp_path / "model")
    load = StreamClassifier.from_pretrained
    with pytest.warns(
        UserWarning, match=r"shape mismatch in \['head.4.bias', 'head.4.weight'\]; left at random"
    ):
        other = load(tmp_path / "model", num_classes=5, ignore_mismatched_sizes=True)
    assert other.class_names is None
    assert other.head[4].weight.std() > 0
    new = other.state_dict()
    assert {value.dtype for value in new.values()} == {
        value.dtype for value in model.state_dict().values()
    }
    for name, value in model.state_dict().items():
        assert name.startswith("head.4.") or torch.equal(new[name], value)
    other.save_pretrained(tmp_path / "other")
    assert load(tmp_path / "other").head[4].out_features == 5
    assert load(tmp_path / "model", ignore_mismatched_sizes=True).class_names == ["a", "b", "c"]
    with pytest.raises(ValueError, match="do not match the model"):
        load(tmp_path / "model", num_classes=5)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_missing_files_are_named(tmp_path: Path, file: str) -> None:
    cloud_model().save_pretrained(tmp_path / "model")
    (tmp_path / "model" / file).unlink()
    with pytest.raises(FileNotFoundError, match=file):
        StreamClassifier.from_pretrained(tmp_path / "model")


def test_no_folder_and_no_model_on_the_hub(tmp_path: Path) -> None:
    for name in (tmp_path / "absent", "absent"):
        with pytest.raises(FileNotFoundError, match="not found locally or on the Hub"):
            StreamClassifier.from_pretrained(name, local_files_only=True)


def test_damaged_configurations(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    cloud_model().save_pretrained(folder)
    rewrite(folder, widht=16)
    with pytest.raises(ValueError, match=r"'widht'.*'width'"):
        StreamClassifier.from_pretrained(folder)
    config = config_of(folder)
    for name in ("widht", "num_classes"):
        del config[name]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="argument 'num_classes' of StreamClassifier is missing"):
        StreamClassifier.from_pretrained(folder)
    for text in ("{", "[]"):
        (folder / "config.json").write_text(text)
        with pytest.raises(ValueError, match=r"config.json"):
            StreamClassifier.from_pretrained(folder)


def test_damaged_weights(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    cloud_model().save_pretrained(folder)
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    for broken in (whole[:-8], whole[:20], b"", b"\xff" * 64):
        file.write_bytes(broken)
        with pytest.raises(ValueError, match="cannot be read"):
            StreamClassifier.from_pretrained(folder)
    file.write_bytes(whole)
    fewer = load_file(file)
    fewer.popitem()
    save_file(fewer, file)
    with pytest.raises(ValueError, match="Missing key"):
        StreamClassifier.from_pretrained(folder)


def test_push_to_hub_uploads_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi

    record: dict[str, Any] = {}

    class Repository:
        repo_id = "me/model"

    def upload(self: HfApi, *, folder_path: Path, **options: Any) -> str:
        folder = Path(folder_path)
        record.update(options, files=sorted(p.name for p in folder.iterdir()))
        record["card"] = (folder / "README.md").read_text()
        return "address"

    monkeypatch.setattr(HfApi, "create_repo", lambda self, **options: Repository())
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    for push in (
        lambda: cloud_model().push_to_hub("me/model", branch="main"),
        lambda: cloud_model().save_pretrained(
            tmp_path / "local", push_to_hub=True, repo_id="me/model", branch="main"
        ),
    ):
        assert push() == "address"
        assert record["repo_id"] == "me/model"
        assert record["revision"] == "main"
        assert record["files"] == ["README.md", "config.json", "model.safetensors"]
        assert 'StreamClassifier.from_pretrained("me/model")' in record["card"]
        record.clear()
    assert 'from_pretrained("me/model")' in (tmp_path / "local" / "README.md").read_text()
