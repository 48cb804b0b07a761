"""A language model that learned in blocks goes to the chip; a folder is all that plugins share."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
blocklocal = pytest.importorskip("evenfall_blocklocal")
egru = pytest.importorskip("evenfall_egru")
pytest.importorskip("evenfall_spinnaker2")

from typer.testing import CliRunner

from evenfall_blocklocal.saving import save_local
from evenfall_egru.text.tokenization import byte_tokenizer
from evenfall_spinnaker2.cli import app

TEXT = "a small model reads its text again and again. "


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_model_trained_in_blocks_is_checked_compiled_and_predicts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    config = egru.EgruConfig(
        vocab_size=len(tokenizer), embedding_size=16, hidden_sizes=[32, 16], dampening=0.7,
        support=1.0, eos_token_id=None,
    )  # fmt: skip
    model = egru.EgruForCausalLM(config)
    local = blocklocal.BlockLocal(model, 2, tied="untie", latent=8, hidden=16)
    ids = tokenizer(TEXT * 2, return_tensors="pt").input_ids
    optimizer = torch.optim.AdamW(local.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        losses.append(local(input_ids=ids, labels=ids).loss)
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]
    assert model.lm_head.weight is not model.model.embed_tokens.weight

    folder = tmp_path / "model"
    save_local(local, folder)
    tokenizer.save_pretrained(folder)
    assert "model fits: 2 of 148 PEs" in run("check", folder)
    run("compile", folder, tmp_path / "out")
    text = run("predict", tmp_path / "out", "--prompt", "a small", "--max-new-tokens", 8)

    loaded = egru.EgruForCausalLM.from_pretrained(folder)
    prompt = tokenizer("a small", return_tensors="pt").input_ids
    want = loaded.generate(prompt, max_new_tokens=8, do_sample=False, pad_token_id=0)
    assert text.strip() == tokenizer.decode(want[0], skip_special_tokens=True).strip()
