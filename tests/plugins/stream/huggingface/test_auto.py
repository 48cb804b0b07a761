"""The models in transformers: Auto classes, Trainer, and an environment without transformers."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")
transformers = pytest.importorskip("transformers")

from huggingface_hub import ModelCard
from safetensors.torch import load_file
from torch_geometric.data import Data

from evenfall_stream import EventStreamClassifier, StreamClassifier, StreamSegmenter
from evenfall_stream.huggingface import (
    EventStreamClassifierConfig,
    StreamClassifierConfig,
    StreamForPointCloudClassification,
    collate,
)

SMALL = {"width": 16, "depth": 1, "groups": 8, "neighbors": 4}
EVENTS = {"widths": (8,), "depths": (1,), "strides": (2,), "mlp_ratio": 1.0, "frequencies": 2}


def models() -> list[tuple[torch.nn.Module, dict[str, Any]]]:
    torch.manual_seed(0)
    pos = torch.randn(24, 3)
    events = torch.stack([torch.rand(6).cumsum(0), torch.arange(6.0) % 4], 1)
    return [
        (StreamClassifier(3, head=(8,), class_names=["a", "b", "c"], **SMALL), {"pos": pos}),
        (EventStreamClassifier(3, (4,), **EVENTS), {"pos": events, "x": torch.ones(6, 1)}),
        (StreamSegmenter(3, **SMALL), {"pos": pos}),
    ]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_auto_model_loads_the_folder_and_writes_it_back(tmp_path: Path, which: int) -> None:
    model, inputs = models()[which]
    model.eval().save_pretrained(tmp_path / "a")
    wrapper = transformers.AutoModel.from_pretrained(tmp_path / "a")
    assert list(wrapper.state_dict()) == list(model.state_dict())
    assert not wrapper.training
    with torch.no_grad():
        expected = model(**inputs)
        torch.testing.assert_close(wrapper(**inputs).logits, expected, rtol=0, atol=1e-6)
    labels = torch.zeros(expected.shape[0], dtype=torch.long)
    output = wrapper(**inputs, labels=labels)
    torch.testing.assert_close(output.loss, torch.nn.functional.cross_entropy(expected, labels))
    assert len(wrapper(**inputs, labels=labels, return_dict=False)) == 2
    wrapper.save_pretrained(tmp_path / "b")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    back = type(model).from_pretrained(tmp_path / "b")
    assert all(torch.equal(a, b) for a, b in zip(
        back.state_dict().values(), model.state_dict().values(), strict=True))  # fmt: skip


def test_auto_config_knows_the_classes(tmp_path: Path) -> None:
    models()[0][0].save_pretrained(tmp_path / "a")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "a")
    assert config.model_type == "stream-classifier"
    assert config.width == 16
    assert config.id2label == {0: "a", 1: "b", 2: "c"}
    assert config.num_labels == 3
    config.save_pretrained(tmp_path / "a")
    assert StreamClassifier.from_pretrained(tmp_path / "a").class_names == ["a", "b", "c"]
    fresh = transformers.AutoModel.from_config(config)
    assert fresh.head[0].weight.std() > 0
    assert fresh.config.width == 16


def test_arguments_and_dtype(tmp_path: Path) -> None:
    models()[0][0].save_pretrained(tmp_path / "a")
    load = transformers.AutoModel.from_pretrained
    assert load(tmp_path / "a", dropout=0.1).head[3].p == 0.1
    assert load(tmp_path / "a", dtype=torch.float64).dtype == torch.float64
    with pytest.raises(TypeError, match="nonsense"):
        load(tmp_path / "a", nonsense=1)
    (tmp_path / "a" / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="cannot be read"):
        load(tmp_path / "a")


def test_what_users_of_transformers_pass(tmp_path: Path) -> None:
    models()[0][0].save_pretrained(tmp_path / "a" / "b")
    load = transformers.AutoModel.from_pretrained
    model = load(
        tmp_path / "a", subfolder="b", torch_dtype=torch.bfloat16, device_map="auto",
        use_safetensors=True, low_cpu_mem_usage=True, trust_remote_code=False,
    )  # fmt: skip
    assert model.dtype == torch.bfloat16
    assert load(tmp_path / "a" / "b", device_map={"": "cpu"}).device.type == "cpu"
    with pytest.raises(ValueError, match="device_map must have one device"):
        load(tmp_path / "a" / "b", device_map={"head": "cpu", "backbone": 0})
    clouds = {"pos": torch.randn(30, 3), "batch": torch.arange(30) // 15}
    labels = torch.tensor([0, 1, 2])
    assert load(tmp_path / "a" / "b")(**clouds, labels=labels, batch_size=3).logits.shape == (3, 3)


@pytest.mark.parametrize("direct", [False, True])
def test_other_labels(tmp_path: Path, direct: bool) -> None:
    models()[0][0].save_pretrained(tmp_path / "a")
    auto_class = transformers.AutoModel
    load = (StreamForPointCloudClassification if direct else auto_class).from_pretrained
    with pytest.raises(ValueError, match="do not match the model"):
        load(tmp_path / "a", num_labels=5)
    names = {0: "left", 1: "right"}
    for options, count, labels in (
        ({"num_labels": 5}, 5, {i: f"LABEL_{i}" for i in range(5)}),
        ({"num_classes": 5}, 5, {i: f"LABEL_{i}" for i in range(5)}),
        ({"id2label": names, "label2id": {"left": 0, "right": 1}}, 2, names),
    ):
        with pytest.warns(UserWarning, match="shape mismatch in "):
            model = load(tmp_path / "a", **options, ignore_mismatched_sizes=True)
        assert model(pos=torch.randn(24, 3)).logits.shape == (1, count)
        assert model.config.num_labels == model.config.num_classes == count
        assert model.config.id2label == labels
        model.save_pretrained(tmp_path / "b")
        assert auto_class.from_pretrained(tmp_path / "b").config.id2label == labels
    assert StreamClassifier.from_pretrained(tmp_path / "b").class_names == ["left", "right"]


def test_labels_and_classes_stay_in_step() -> None:
    config = StreamClassifierConfig(num_classes=3, class_names=["a", "b", "c"])
    assert config.label2id == {"a": 0, "b": 1, "c": 2}
    config.class_names = ["d", "e", "f"]
    assert config.id2label == {0: "d", 1: "e", 2: "f"}
    config.num_labels = 2
    assert (config.num_classes, config.class_names) == (2, None)
    config.id2label = {1: "y", 0: "x"}
    assert (config.num_classes, config.class_names) == (2, ["x", "y"])
    config.num_classes = 4
    assert config.class_names is None
    assert config.num_labels == 4


def test_a_module_replaced_in_the_wrapper_is_the_one_that_runs() -> None:
    model, inputs = models()[1]
    wrapper = transformers.AutoModel.from_config(
        EventStreamClassifierConfig(**model._hub_mixin_config)
    )
    wrapper.classify = torch.nn.Linear(8, 5)
    assert wrapper(**inputs).logits.shape == (1, 5)
    assert wrapper.classify is wrapper.network.classify
    assert [key for key in wrapper.state_dict() if "classify" in key] == [
        "classify.weight", "classify.bias",
    ]  # fmt: skip
    with pytest.raises(AttributeError, match="no attribute 'clasify'"):
        _ = wrapper.clasify


@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_network_is_a_submodule_whose_keys_are_the_wrapper_s(which: int) -> None:
    model, inputs = models()[which]
    model.eval()
    config = transformers.AutoConfig.for_model(model.model_type, **model._hub_mixin_config)
    wrapper = transformers.AutoModel.from_config(config).eval()
    assert dict(wrapper.named_children()) == {"network": wrapper.network}
    assert type(wrapper.network) is type(model)
    expected = model(**inputs)
    for state in (
        model.state_dict(),
        {f"network.{key}": value for key, value in model.state_dict().items()},
    ):
        for parameter in wrapper.parameters():
            torch.nn.init.zeros_(parameter)
        wrapper.load_state_dict(state)
        assert torch.equal(wrapper(**inputs).logits, expected)
    assert list(wrapper.state_dict()) == list(model.state_dict())
    model.load_state_dict(wrapper.state_dict())
    wrapper.train()
    assert wrapper.network.training
    assert not wrapper.eval().network.training

    class Outer(torch.nn.Module):  # as DistributedDataParallel and torch.compile
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.first, self.module = torch.nn.Linear(1, 1), module

    twin = copy.deepcopy(wrapper)
    torch.nn.init.ones_(next(twin.parameters()))
    assert not torch.equal(next(twin.parameters()), next(wrapper.parameters()))
    outer, again = Outer(wrapper), Outer(twin)
    keys = list(outer.state_dict())
    assert keys == ["first.weight", "first.bias", *(f"module.{key}" for key in model.state_dict())]
    again.load_state_dict(outer.state_dict())
    assert torch.equal(twin(**inputs).logits, expected)
    state = model.state_dict()
    removed = list(state)[-1]
    state["stranger"] = state.pop(removed)
    report = wrapper.load_state_dict(state, strict=False)
    assert report.missing_keys == [f"network.{removed}"]
    assert report.unexpected_keys == ["stranger"]


def test_an_adapter_is_saved_loaded_and_merged(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model, inputs = models()[0]
    model.save_pretrained(tmp_path / "model")

    def load() -> torch.nn.Module:
        return transformers.AutoModel.from_pretrained(tmp_path / "model")

    lora = {"r": 2, "init_lora_weights": False, "target_modules": r".*first\.0"}
    adapted = peft.get_peft_model(load(), peft.LoraConfig(**lora, modules_to_save=["head"])).eval()
    with torch.no_grad():
        for parameter in adapted.parameters():
            parameter.add_(0.1 if parameter.requires_grad else 0)
    want = adapted(**inputs).logits
    assert not torch.allclose(want, load()(**inputs).logits)
    adapted.save_pretrained(tmp_path / "adapter")
    back = peft.PeftModel.from_pretrained(load(), tmp_path / "adapter").eval()
    assert torch.equal(back(**inputs).logits, want)
    merged = back.merge_and_unload()
    assert list(merged.state_dict()) == list(model.state_dict())
    merged.save_pretrained(tmp_path / "merged")
    saved = StreamClassifier.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(saved(**inputs), want)


def test_new_labels_are_saved(tmp_path: Path) -> None:
    models()[0][0].save_pretrained(tmp_path / "a")
    wrapper = transformers.AutoModel.from_pretrained(tmp_path / "a")
    wrapper.config.id2label = {0: "x", 1: "y", 2: "z"}
    wrapper.save_pretrained(tmp_path / "b")
    assert StreamClassifier.from_pretrained(tmp_path / "b").class_names == ["x", "y", "z"]
    state = dict(wrapper.named_parameters(), **dict(wrapper.named_buffers()))
    wrapper.save_pretrained(tmp_path / "c", state_dict=state)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in "bc"]
    assert weights[0].keys() == weights[1].keys()


def test_push_to_hub_uploads_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.utils import hub

    models()[0][0].save_pretrained(tmp_path / "a")
    wrapper = transformers.AutoModel.from_pretrained(tmp_path / "a")
    sent: dict[str, bytes] = {}

    class Hub:
        def create_repo(self, repo_id: str, **_: Any) -> Any:
            return types.SimpleNamespace(repo_id=repo_id)

    def upload(self: Any, folder: str, repo_id: str, **_: Any) -> str:
        sent.update({file.name: file.read_bytes() for file in Path(folder).iterdir()})
        return repo_id

    monkeypatch.setattr(hub, "hf_api", Hub)
    monkeypatch.setattr(hub.PushToHubMixin, "_upload_modified_files", upload)
    monkeypatch.setattr(
        hub, "create_and_tag_model_card", lambda *_, **__: ModelCard("---\ntags: [a]\n---\n# A\n")
    )
    assert wrapper.push_to_hub("someone/clouds") == "someone/clouds"
    assert sorted(sent) == ["README.md", "config.json", "model.safetensors"]
    for name in ("config.json", "model.safetensors"):
        assert sent[name] == (tmp_path / "a" / name).read_bytes()


class Clouds(torch.utils.data.Dataset):
    """Clouds on a segment (class 0) or in a ball (class 1)."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> Data:
        pos = torch.randn(16 + index % 3, 3, generator=torch.Generator().manual_seed(index))
        pos[:, 1:] *= index % 2
        return Data(pos=pos, y=torch.tensor([index % 2]))


def test_trainer_trains_resumes_and_saves(tmp_path: Path) -> None:
    torch.manual_seed(0)
    StreamClassifier(2, head=(8,), **SMALL).save_pretrained(tmp_path / "start")
    # Trainer's collator comes first, so that labels, not points, count the examples.
    assert next(iter(collate([Clouds()[0]]))) == "labels"

    def trainer(steps: int) -> Any:
        return transformers.Trainer(
            model=transformers.AutoModel.from_pretrained(tmp_path / "start"),
            args=transformers.TrainingArguments(
                str(tmp_path / "run"), max_steps=steps, per_device_train_batch_size=8,
                save_steps=4, learning_rate=1e-2, report_to=[], disable_tqdm=True, use_cpu=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=Clouds(), eval_dataset=Clouds(), data_collator=collate,
        )  # fmt: skip

    first = trainer(4)
    before = first.evaluate()["eval_loss"]
    first.train()
    saved = StreamClassifier.from_pretrained(tmp_path / "run" / "checkpoint-4")
    assert all(torch.equal(a, b) for a, b in zip(
        saved.state_dict().values(), first.model.state_dict().values(), strict=True))  # fmt: skip
    second = trainer(12)
    second.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-4"))
    assert second.state.global_step == 12
    assert second.evaluate()["eval_loss"] < before


def child(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=3600, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_plugin_works_where_transformers_is_not_installed(tmp_path: Path) -> None:
    out = child(f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "transformers":
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Block())
import torch
from evenfall_stream import StreamClassifier
StreamClassifier(2, head=(8,), **{SMALL}).save_pretrained({str(tmp_path / "a")!r})
model = StreamClassifier.from_pretrained({str(tmp_path / "a")!r})
sys.stdout.write(f"{{tuple(model(torch.randn(20, 3)).shape)}} {{'transformers' in sys.modules}}")
""")
    assert out == "(1, 2) False"


@pytest.mark.parametrize("order", ["evenfall_stream.huggingface, transformers", "transformers"])
def test_importing_the_folder_registers(tmp_path: Path, order: str) -> None:
    models()[0][0].save_pretrained(tmp_path / "a")
    out = child(f"""
import sys
import {order}
import evenfall_stream.huggingface
model = transformers.AutoModel.from_pretrained({str(tmp_path / "a")!r})
sys.stdout.write(f"{{type(model).__name__}} {{len(sys.meta_path) < 9}}")
""")
    assert out == "StreamForPointCloudClassification True"


def test_without_transformers_the_extra_is_named() -> None:
    out = child("""
import sys
sys.modules["transformers"] = None
try:
    import evenfall_stream.huggingface
except ImportError as error:
    sys.stdout.write(str(error))
""")
    assert out == (
        "evenfall_stream.huggingface needs transformers; install the extra 'transformers': "
        "pip install 'evenfall-stream[transformers]'"
    )
