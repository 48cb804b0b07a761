"""A published folder works with only torch and transformers; the plugin takes precedence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evenfall_egru import EgruConfig, EgruForCausalLM, EgruForSequenceClassification
from evenfall_egru.publish.folder import save_for_hub
from evenfall_egru.text.tokenization import vocabulary, word_tokenizer

TEXT = "the cat sat on the mat\nthe dog <unk> ran off\n"

FOREIGN = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0].startswith("evenfall"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, AutoModelForSequenceClassification

folder = sys.argv[1]
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
batch = tokenizer(["the cat sat", "the dog ran off\\n"], return_tensors="pt", padding=True)
with torch.no_grad():
    logits = model(**batch).logits
new = model.generate(**batch, max_new_tokens=5, min_new_tokens=5, do_sample=False)
classifier = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
frames = AutoModelForSequenceClassification.from_pretrained(sys.argv[3], trust_remote_code=True)
json.dump({
    "module": type(model).__module__,
    "evenfall": sorted(n for n in sys.modules if n.startswith("evenfall")),
    "mask": batch["attention_mask"].tolist(),
    "logits": logits.tolist(),
    "new": new.tolist(),
    "classes": classifier(**batch).logits.shape[1],
    "of_frames": frames(inputs_embeds=torch.linspace(-1, 1, 30).reshape(2, 5, 3)).logits.tolist(),
}, open(sys.argv[2], "w"))
"""


def _model() -> EgruForCausalLM:
    torch.manual_seed(0)
    words = vocabulary([TEXT])
    config = EgruConfig(vocab_size=len(words), embedding_size=6, hidden_sizes=[12, 6])
    return EgruForCausalLM(config).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("hub") / "tiny"
    return save_for_hub(_model(), word_tokenizer(vocabulary([TEXT])), target)


@pytest.mark.slow
def test_loads_where_evenfall_is_absent(
    folder: Path, tmp_path: Path, run_script: Callable[..., int]
) -> None:
    report = tmp_path / "report.json"
    output = tmp_path / "output.txt"
    (tmp_path / "foreign.py").write_text(FOREIGN, encoding="utf-8")
    sizes = {"embedding_size": 3, "hidden_sizes": [12], "num_labels": 4}
    config = EgruConfig(vocab_size=0, tie_word_embeddings=False, use_cache=False, **sizes)
    classifier = EgruForSequenceClassification(config).eval()
    other = save_for_hub(classifier, None, tmp_path / "classifier")
    status = run_script(tmp_path / "foreign.py", output, folder, report, other)
    assert status == 0, output.read_text(encoding="utf-8")[-3000:]
    report_values = json.loads(report.read_text())
    assert report_values["evenfall"] == []
    assert report_values["module"].startswith("transformers_modules.")
    assert report_values["mask"][0][:2] == [0, 0]
    assert report_values["classes"] == 2

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    batch = tokenizer(["the cat sat", "the dog ran off\n"], return_tensors="pt", padding=True)
    with torch.no_grad():
        logits = model(**batch).logits
        alone = model(**tokenizer("the cat sat", return_tensors="pt")).logits
    real = batch["attention_mask"].bool()
    foreign = torch.tensor(report_values["logits"])
    torch.testing.assert_close(foreign[real], logits[real], atol=1e-5, rtol=0)
    torch.testing.assert_close(foreign[0, 2:], alone[0], atol=1e-5, rtol=0)
    new = model.generate(**batch, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    assert report_values["new"] == new.tolist()

    vectors = torch.linspace(-1, 1, 30).reshape(2, 5, 3)
    logits = classifier(inputs_embeds=vectors).logits
    torch.testing.assert_close(torch.tensor(report_values["of_frames"]), logits, atol=1e-5, rtol=0)


def test_installed_plugin_wins_over_the_code_in_the_folder(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    assert type(model) is EgruForCausalLM


def test_weights_round_trip_and_stay_tied(folder: Path) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    assert loaded.lm_head.weight.data_ptr() == loaded.model.embed_tokens.weight.data_ptr()
    for name, tensor in _model().state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, atol=0, rtol=0)


def test_bfloat16_halves_the_file_and_loads_as_float32(folder: Path, tmp_path: Path) -> None:
    tokenizer = word_tokenizer(vocabulary([TEXT]))
    model = _model()
    half = save_for_hub(model, tokenizer, tmp_path / "half", dtype=torch.bfloat16)
    assert model.dtype == torch.float32
    size = {f: (f / "model.safetensors").stat().st_size for f in (half, folder)}
    assert size[half] < 0.75 * size[folder]
    loaded = AutoModelForCausalLM.from_pretrained(half)
    assert loaded.dtype == torch.float32
    for name, tensor in model.state_dict().items():
        rounded = tensor.bfloat16().float()
        torch.testing.assert_close(loaded.state_dict()[name], rounded, atol=0, rtol=0)


def test_existing_folder_is_kept_unless_replaced(folder: Path) -> None:
    before = (folder / "config.json").read_bytes()
    tokenizer = word_tokenizer(vocabulary([TEXT]))
    with pytest.raises(FileExistsError, match="already exists"):
        save_for_hub(_model(), tokenizer, folder)
    assert (folder / "config.json").read_bytes() == before
    save_for_hub(_model(), tokenizer, folder, replace=True)
    assert sorted(p.name for p in folder.parent.iterdir()) == [folder.name]


def test_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        save_for_hub(_model(), "words", tmp_path / "broken")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
