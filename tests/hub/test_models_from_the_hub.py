"""Each host loads by name what `evenfall checkpoints push` has sent, through a Hub of this
machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from evenfall.testing.hub.client import Shell
    from evenfall.testing.hub.server import Hub

CARDS = Path(__file__).parents[2] / "hub_cards"
WITH_PLUGIN = """
import json, sys
import evenfall_egru
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("ann/words")
tokenizer = AutoTokenizer.from_pretrained("ann/words")
ids = model.generate(**tokenizer("the company said", return_tensors="pt"), max_new_tokens=8)
print(json.dumps([type(model).__module__, tokenizer.decode(ids[0])]))
"""
WITHOUT_PLUGIN = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0].startswith("evenfall"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
""" + WITH_PLUGIN.replace("import evenfall_egru\n", "").replace(
    '"ann/words")', '"ann/words", trust_remote_code=True)'
)


def output_of(shell: Shell, script: str) -> object:
    """What a script prints as JSON, in a process that knows the Hub by its address alone."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        env=shell.environment(""),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_transformers_loads_egru_with_the_plugin_and_without(hub: Hub, shell: Shell) -> None:
    from evenfall_egru.loading import load_checkpoint

    shell("push", CARDS / "egru-ptb-small", "ann/words")
    repository = hub.store.repositories["ann/words"]
    assert "modeling_egru.py" in repository.commits[repository.names["main"]]
    model, tokenizer = load_checkpoint(CARDS / "egru-ptb-small")
    prompt = tokenizer("the company said", return_tensors="pt")
    want = tokenizer.decode(model.generate(**prompt, max_new_tokens=8)[0])
    module, text = output_of(shell, WITH_PLUGIN)
    assert (module, text) == ("evenfall_egru.models.modeling_egru", want)
    module, text = output_of(shell, WITHOUT_PLUGIN)
    assert module.startswith("transformers_modules.")
    assert text == want


def test_stream_loads_by_name(hub: Hub, shell: Shell) -> None:
    from evenfall_stream import EventStreamClassifier

    shell("push", CARDS / "stream-nmnist-small", "ann/digits")
    found = EventStreamClassifier.from_pretrained("ann/digits")
    want = EventStreamClassifier.from_pretrained(CARDS / "stream-nmnist-small")
    for name, value in want.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_timm_loads_a_model_that_learned_in_blocks(hub: Hub, shell: Shell, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    from evenfall_blocklocal import BlockLocal
    from evenfall_blocklocal.saving import save_local

    torch.manual_seed(0)
    local = BlockLocal(timm.create_model("test_resnet", num_classes=10), blocks=2)
    save_local(local, tmp_path / "blocks")
    shell("push", tmp_path / "blocks", "ann/blocks")
    found = timm.create_model("hf-hub:ann/blocks", pretrained=True).eval()
    image = torch.randn(1, 3, 160, 160)
    assert torch.equal(found(image), local.model.eval()(image))
