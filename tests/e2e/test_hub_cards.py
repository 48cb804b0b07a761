"""The EGRU checkpoint: its files in the checkout, the published folder, and the card's figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("transformers")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evenfall import registry
from evenfall.corpora import read_split
from evenfall_egru.evaluation.perplexity import evaluate_tokens
from evenfall_egru.publish.card import make_card
from evenfall_egru.publish.folder import copy_code
from evenfall_egru.text.encoding import encode

CARDS = Path(__file__).parents[2] / "hub_cards"
FOLDER = CARDS / "egru-ptb-small"

FOREIGN = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0].startswith("evenfall"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, report = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
prompt = tokenizer("the company said it", return_tensors="pt")
with torch.no_grad():
    logits = model(**prompt).logits[0, -1]
new = model.generate(**prompt, max_new_tokens=8, min_new_tokens=8, do_sample=False)
json.dump({
    "module": type(model).__module__,
    "evenfall": sorted(name for name in sys.modules if name.startswith("evenfall")),
    "logits": logits.tolist(),
    "text": tokenizer.decode(new[0]),
}, open(report, "w"))
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that users get."""
    output = tmp_path_factory.mktemp("published") / "egru-ptb-small"
    return registry.checkpoints.get("egru-ptb-small").publish(output, folder=FOLDER)


def test_the_checkout_keeps_no_code_and_no_pickle() -> None:
    suffixes = {path.suffix for path in FOLDER.iterdir()}
    assert suffixes == {".md", ".json", ".safetensors", ".png", ".yaml"}
    assert "auto_map" not in json.loads((FOLDER / "config.json").read_text())


def test_published_code_is_that_of_the_sources(published: Path, tmp_path: Path) -> None:
    copy_code(tmp_path)
    for source in tmp_path.glob("*.py"):
        assert (published / source.name).read_text() == source.read_text(), source.name
    assert len(list(published.glob("*.py"))) == len(list(tmp_path.glob("*.py")))


def test_published_files_are_those_of_the_checkout(published: Path) -> None:
    for file in FOLDER.iterdir():
        if file.name != "config.json":
            assert (published / file.name).read_bytes() == file.read_bytes(), file.name
    config = json.loads((published / "config.json").read_text())
    classes = config.pop("auto_map")
    assert config == json.loads((FOLDER / "config.json").read_text())
    assert set(classes) == {
        "AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification",
        "AutoModelForTokenClassification",
    }  # fmt: skip
    for reference in classes.values():
        module, _, name = reference.partition(".")
        assert f"class {name}(" in (published / f"{module}.py").read_text()


@pytest.mark.slow
def test_published_folder_generates_where_evenfall_is_absent(
    published: Path, tmp_path: Path, run_script: Callable[..., int]
) -> None:
    report = tmp_path / "report.json"
    output = tmp_path / "output.txt"
    (tmp_path / "foreign.py").write_text(FOREIGN, encoding="utf-8")
    status = run_script(tmp_path / "foreign.py", output, published, report)
    assert status == 0, output.read_text(encoding="utf-8")[-3000:]
    report_values = json.loads(report.read_text())
    assert report_values["evenfall"] == []
    assert report_values["module"].startswith("transformers_modules.")

    model, tokenizer = registry.checkpoints.get("egru-ptb-small").load(device="cpu")
    prompt = tokenizer("the company said it", return_tensors="pt")
    with torch.no_grad():
        logits = model(**prompt).logits[0, -1]
    torch.testing.assert_close(torch.tensor(report_values["logits"]), logits, atol=1e-4, rtol=0)
    new = model.generate(**prompt, max_new_tokens=8, min_new_tokens=8, do_sample=False)
    assert report_values["text"] == tokenizer.decode(new[0])


@pytest.mark.parametrize(
    "name", ["stream-modelnet10-small", "stream-nmnist-small", "stream-digits-small"]
)
def test_stream_is_published_as_it_is(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch_geometric")
    output = registry.checkpoints.get(name).publish(tmp_path / name, folder=CARDS / name)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == {
        path.name: path.read_bytes() for path in (CARDS / name).iterdir()
    }


def test_every_registered_checkpoint_is_where_it_says() -> None:
    for entry in registry.checkpoints.entries():
        if entry.owner.name == "stream":
            pytest.importorskip("torch_geometric")
        checkpoint = registry.checkpoints.get(entry.name)
        assert (checkpoint.name, checkpoint.folder) == (entry.name, entry.metadata["folder"])
        assert checkpoint.find(CARDS / entry.name) == CARDS / entry.name


def test_its_card_is_made_from_its_results() -> None:
    results = json.loads((FOLDER / "results.json").read_text())
    assert (FOLDER / "README.md").read_text().strip() == str(make_card(results)).strip()


def test_the_weights_stay_small() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size <= 15_000_000


def test_validation_perplexity_is_that_of_the_card(data_dir: Path) -> None:
    results = json.loads((FOLDER / "results.json").read_text())
    expected = next(
        e for e in results["evaluations"] if e["split"] == "valid" and e["carry"] == "full"
    )
    model = AutoModelForCausalLM.from_pretrained(FOLDER)
    tokens = encode(AutoTokenizer.from_pretrained(FOLDER), read_split(data_dir / "ptb", "valid"))
    result = evaluate_tokens(model, tokens, window=1024)
    assert result["tokens"] == expected["tokens"]
    assert result["perplexity"] == pytest.approx(expected["perplexity"], rel=1e-3)
    assert result["mean_activity"] == pytest.approx(expected["mean_activity"], rel=1e-2)
