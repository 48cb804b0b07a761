"""Convert EvNN checkpoints of both layouts, and compare with a loop in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from evenfall_egru.publish.released import convert, model_from_state, read_state

SPLITS = {"train": "a b <unk>\n", "valid": "b c\n", "test": "d a\n"}
VOCABULARY = ["a", "b", "<unk>", "<eos>", "c", "d"]
EMBEDDING, UNITS = 4, (7, 5)


def _state(layout: str = "v0.2", projection: bool = True) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.7

    units = UNITS if projection else (UNITS[0], EMBEDDING)
    embedding = draw(len(VOCABULARY), EMBEDDING)
    state = {
        "embeddings.weight": embedding,
        "decoder.decoder.weight": embedding.clone(),
        "decoder.decoder.bias": draw(len(VOCABULARY)),
    }
    for index, (inputs, own) in enumerate(zip((EMBEDDING, units[0]), units, strict=True)):
        prefix = f"rnns.{index}."
        state |= {
            prefix + "kernel": draw(inputs, 3 * own),
            prefix + "recurrent_kernel": draw(own, 3 * own),
            prefix + "bias": draw(3 * own),
            prefix + "recurrent_bias": draw(3 * own),
            prefix + "_max_norm": torch.ones(1),
            prefix + "dampening_factor": torch.tensor([0.7]),
            prefix + "pseudo_derivative_support": torch.tensor([3.6]),
        }
        if layout == "v0.1":
            state[prefix + "thr_reparam"] = draw(own) - 2
        else:
            state[prefix + "thr"] = torch.rand(own, generator=generator) * 0.3
    if projection:
        state["decoder.projection.weight"] = draw(EMBEDDING, units[1])
        state["decoder.projection.bias"] = draw(EMBEDDING)
    return state


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _by_hand(state: dict[str, Tensor], ids: list[int]) -> np.ndarray:
    """Logits (T, V) by the equations, in float64."""
    s = {name: tensor.double().numpy() for name, tensor in state.items()}
    x = s["embeddings.weight"][ids]
    for index in range(2):
        p = f"rnns.{index}."
        w, u, b, d = (s[p + n] for n in ("kernel", "recurrent_kernel", "bias", "recurrent_bias"))
        thr = s[p + "thr"] if p + "thr" in s else _sigmoid(s[p + "thr_reparam"])
        n = len(thr)
        y, h, out = np.zeros(n), np.zeros(n), []
        for row in x:
            a, q = row @ w + b, y @ u + d
            z, r = _sigmoid(a[:n] + q[:n]), _sigmoid(a[n : 2 * n] + q[n : 2 * n])
            g = np.tanh(a[2 * n :] + r * q[2 * n :])
            c = z * h + (1 - z) * g
            fired = c > thr
            y, h = np.where(fired, c, 0), np.where(fired, c - thr, c)
            out.append(y)
        x = np.stack(out)
    if "decoder.projection.weight" in s:
        x = x @ s["decoder.projection.weight"].T + s["decoder.projection.bias"]
    return x @ s["decoder.decoder.weight"].T + s["decoder.decoder.bias"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for split, text in SPLITS.items():
        (folder / f"{split}.txt").write_text(text)
    return folder


def _save(state: object, folder: Path) -> Path:
    torch.save(state, folder / "model.pt")
    return folder / "model.pt"


@pytest.mark.parametrize("projection", [True, False])
@pytest.mark.parametrize("layout", ["v0.1", "v0.2"])
def test_logits_are_those_of_the_equations(
    layout: str, projection: bool, corpus: Path, tmp_path: Path
) -> None:
    state = _state(layout, projection)
    folder = convert(_save(state, tmp_path), corpus, tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("a d b\nc a zebra b").input_ids
    assert ids == [0, 5, 1, 3, 4, 0, 2, 1]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    np.testing.assert_allclose(logits.numpy(), _by_hand(state, ids), atol=2e-5)
    assert (model.config.dampening, model.config.support) == pytest.approx((0.7, 3.6))
    assert model.config.tie_word_embeddings
    assert tokenizer.convert_ids_to_tokens(list(range(6))) == VOCABULARY


def test_carry_is_kept_in_the_configuration(corpus: Path, tmp_path: Path) -> None:
    folder = convert(_save(_state(), tmp_path), corpus, tmp_path / "out", carry="output")
    assert AutoModelForCausalLM.from_pretrained(folder).config.carry == "output"


def test_decoder_that_is_not_tied_stays_so() -> None:
    state = _state()
    state["decoder.decoder.weight"] += 1
    model = model_from_state(state)
    assert not model.config.tie_word_embeddings
    ids = [0, 3, 5]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    np.testing.assert_allclose(logits.numpy(), _by_hand(state, ids), atol=2e-5)


def _without(key: str) -> dict[str, Tensor]:
    state = _state()
    del state[key]
    return state


BROKEN = {
    "missing key": (lambda: _without("rnns.1.bias"), r"lacks 'rnns.1.bias'"),
    "no layer": (lambda: {"embeddings.weight": torch.ones(2, 2)}, r"lacks 'decoder.decoder"),
    "unexpected key": (lambda: _state() | {"rnns.7.x": torch.ones(1)}, r"unexpected.*rnns.7.x"),
    "shape": (
        lambda: _state() | {"rnns.1.kernel": torch.ones(3, 15)},
        r"model.layers.1.kernel \(3, 15\), want \(7, 15\)",
    ),
    "disagreement": (
        lambda: _state() | {"rnns.1.dampening_factor": torch.tensor([0.5])},
        "all layers must have the same dampening and support",
    ),
    "not a scalar": (
        lambda: _state() | {"rnns.0.dampening_factor": torch.ones(2)},
        "must contain one number",
    ),
    "half a projection": (lambda: _without("decoder.projection.bias"), "missing .*projection.bias"),
    "projection between equals": (
        lambda: (
            _state(projection=False)
            | {
                "decoder.projection.weight": torch.ones(4, 4),
                "decoder.projection.bias": torch.ones(4),
            }
        ),
        "unexpected .*projection",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_state_that_does_not_fit_is_refused(case: str) -> None:
    make, message = BROKEN[case]
    with pytest.raises(ValueError, match=message):
        model_from_state(make())


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    whole = _save(_state(), tmp_path).read_bytes()
    file = tmp_path / "bad.pt"
    for content in (whole[: len(whole) // 2], b"", b"not a checkpoint"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"^state_dict .* cannot be read: (?!.*weights_only)"):
            read_state(file)
    with pytest.raises(ValueError, match="must contain a state_dict, a dictionary of tensors"):
        read_state(_save([1, 2], tmp_path))
    state = _state()
    state["rnns.0.bias"][0] = torch.nan
    with pytest.raises(
        ValueError, match=r"contains values that are not finite, in \['rnns.0.bias'\]"
    ):
        read_state(_save(state, tmp_path))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_state(tmp_path / "absent.pt")


def test_another_corpus_is_refused(corpus: Path, tmp_path: Path) -> None:
    (corpus / "test.txt").write_text("e f g\n")
    with pytest.raises(ValueError, match=r"8 words .* vocabulary has 6; pass the corpus"):
        convert(_save(_state(), tmp_path), corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists()


RUN = {"rnn_type": "egru", "layers": 2, "emb_dim": 4, "hidden_dim": 7}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (RUN | {"pseudo_derivative_width": 3.6, "bptt": 70}, None),
        ({"rnn_type": "lstm"}, "rnn_type must be 'egru', got 'lstm'"),
        (RUN | {"hidden_dim": 1350}, "hidden_dim is 1350, but the weights have 7"),
        (RUN | {"layers": "two"}, "layers must be a number"),
        ([1], "must be a mapping"),
    ],
)
def test_run_config_is_compared_with_the_weights(
    values: object, message: str | None, corpus: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(values))
    arguments = (_save(_state(), tmp_path), corpus, tmp_path / "out")
    if message is None:
        assert (convert(*arguments, config=config) / "model.safetensors").is_file()
    else:
        with pytest.raises(ValueError, match=message):
            convert(*arguments, config=config)
