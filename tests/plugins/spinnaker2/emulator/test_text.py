"""The image of a language model continues a text as greedy generate does, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
egru = pytest.importorskip("evenfall_egru")

from tokenizers import Tokenizer, models, pre_tokenizers
from typer.testing import CliRunner

from evenfall_spinnaker2 import compile
from evenfall_spinnaker2.cli import app
from evenfall_spinnaker2.emulator.emulator import Emulator
from evenfall_spinnaker2.emulator.text import TextEmulator

from .. import networks

WORDS = [*(f"w{i}" for i in range(39)), "<eos>", "<unk>"]
PROMPT = "w1 w7 w3"
BLOCKED = ("torch", "transformers", "evenfall_egru", "evenfall_kernels", "nir")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of 41 words whose text does not end soon."""
    torch.manual_seed(5)
    config = egru.EgruConfig(
        vocab_size=41, embedding_size=12, hidden_sizes=[20, 12], eos_token_id=39, bos_token_id=39,
        embedding_range=1.0,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("checkpoint")
    egru.EgruForCausalLM(config).eval().save_pretrained(folder)
    words = models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>")
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def image(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile(checkpoint, tmp_path_factory.mktemp("image") / "out")


def generated(checkpoint: Path, **options: Any) -> list[int]:
    model = egru.EgruForCausalLM.from_pretrained(checkpoint)
    ids = torch.tensor([[1, 7, 3]])
    out = model.generate(ids, do_sample=False, max_new_tokens=20, pad_token_id=39, **options)
    return out[0, 3:].tolist()


def test_the_continuation_is_that_of_generate(checkpoint: Path, image: Path) -> None:
    pieces: list[str] = []
    found = TextEmulator(Emulator(image)).continue_text(PROMPT, 20, show=pieces.append)
    assert list(found.new_ids) == generated(checkpoint)
    assert "".join(pieces) == found.text
    assert found.text.split()[:3] == PROMPT.split()
    past = TextEmulator(Emulator(image)).continue_text(PROMPT, 20, past_end=True)
    assert list(past.new_ids) == generated(checkpoint, eos_token_id=None)
    assert len(past.new_ids) == 20
    assert past.operations > 0


def test_logits_are_those_of_the_model(checkpoint: Path, image: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 41, 50)
    with torch.no_grad():
        model = egru.EgruForCausalLM.from_pretrained(checkpoint)
        wanted = model(torch.from_numpy(ids)[None]).logits[0].numpy()
    got, _ = TextEmulator(Emulator(image)).logits(ids.tolist())
    np.testing.assert_allclose(got, wanted, atol=2e-5)


def test_an_end_token_ends_the_text(checkpoint: Path, image: Path) -> None:
    text = TextEmulator(Emulator(image))
    assert text.end_tokens == (39,)
    text.end_tokens = (text.continue_text(PROMPT, 3, past_end=True).new_ids[1],)
    found = text.continue_text(PROMPT, 20)
    assert found.new_ids[-1] == text.end_tokens[0]
    assert len(found.new_ids) <= 2


def test_it_works_where_torch_cannot_be_imported(image: Path) -> None:
    script = f"""
import importlib.abc, json, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED}:
            raise ImportError(f"{{name}} is blocked")
sys.meta_path.insert(0, Block())
from evenfall_spinnaker2.emulator.emulator import Emulator
from evenfall_spinnaker2.emulator.text import TextEmulator
found = TextEmulator(Emulator({str(image)!r})).continue_text({PROMPT!r}, 20)
print(json.dumps(found.new_ids))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    found = TextEmulator(Emulator(image)).continue_text(PROMPT, 20)
    assert json.loads(done.stdout) == list(found.new_ids)


def test_what_is_no_language_model_is_refused(tmp_path: Path, image: Path) -> None:
    emulator = Emulator(compile(networks.values(), tmp_path / "out"))
    with pytest.raises(ValueError, match="is not a language model: it has no tokenizer"):
        TextEmulator(emulator)
    text = TextEmulator(Emulator(image))
    with pytest.raises(ValueError, match="at least one token"):
        text.continue_text("", 3)
    with pytest.raises(ValueError, match="max_new_tokens must be an integer of at least 1"):
        text.continue_text(PROMPT, 0)


def test_the_command_prints_the_continuation(checkpoint: Path, image: Path) -> None:
    options = ["predict", str(image), "--prompt", PROMPT, "--max-new-tokens", "5", "--past-end"]
    words = " ".join(WORDS[i] for i in generated(checkpoint, eos_token_id=None)[:5])
    result = CliRunner().invoke(app, options)
    assert result.output.strip() == f"{PROMPT} {words}"
    result = CliRunner().invoke(app, [*options, "--json"])
    assert json.loads(result.output)["text"] == f"{PROMPT} {words}"


@pytest.mark.slow
def test_the_published_model_gives_the_text_of_generate(tmp_path: Path) -> None:
    folder = Path(__file__).parents[4] / "hub_cards" / "egru-ptb-small"
    text = TextEmulator(Emulator(compile(folder, tmp_path / "out")))
    ids = text.encode("the company said")
    model = egru.EgruForCausalLM.from_pretrained(folder)
    out = model.generate(
        torch.tensor([ids]), do_sample=False, max_new_tokens=60, eos_token_id=None, pad_token_id=24
    )
    found = text.continue_text("the company said", 60, past_end=True)
    assert [*found.prompt_ids, *found.new_ids] == out[0].tolist()
    assert text.continue_text("the company said", 20).text == "the company said <eos>"
