"""Padding on either side, or between two parts of a text, leaves no trace in the state."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

import evenfall
from evenfall_mamba.huggingface import mamba2, padding
from evenfall_mamba.huggingface.state import with_padding_record

from ..conftest import MAKERS, cache_name, make_model
from .mamba2_models import MAKERS as MAMBA2_MAKERS

CLOSE: dict[str, float] = {"rtol": 0, "atol": 2e-5}
ALL = {**MAKERS, **MAMBA2_MAKERS}
LEFT = [[0, 0, 1, 1, 1, 1], [1] * 6]
RIGHT = [[1, 1, 1, 1, 0, 0], [1] * 6]
GAPS = [[1, 0, 1, 1, 0, 1], [0, 1, 1, 0, 1, 0]]
BOTH = [[0, 1, 0, 0, 0, 0], [1] * 6]  # more padding than the state has inputs


def masked(pieces: list[list[list[int]]]) -> Tensor:
    return torch.cat([torch.tensor(piece) for piece in pieces], 1)


def run(model: Any, ids: Tensor, mask: Tensor, sizes: list[int]) -> Tensor:
    """Logits of a padded batch that is passed in pieces, each with the mask up to its end."""
    cache: dict[str, Any] = {}
    parts, stop, key = [], 0, cache_name(model)
    places = (mask.cumsum(1) - 1).clamp(min=0)
    for piece in ids.split(sizes, dim=1):
        start, stop = stop, stop + piece.shape[1]
        options = {} if "mamba" in model.config.model_type else {
            "position_ids": places[:, start:stop]
        }  # fmt: skip
        out = model(piece, use_cache=True, attention_mask=mask[:, :stop], **cache, **options)
        cache = {key: out[key]}
        parts.append(out.logits)
    return torch.cat(parts, 1)


def check(model: Any, mask: Tensor, sizes: list[int]) -> None:
    ids = torch.randint(3, 50, mask.shape, generator=torch.Generator().manual_seed(1))
    want = [model(row[real][None]).logits[0] for row, real in zip(ids, mask.bool(), strict=True)]
    with evenfall.patch("mamba", targets=["transformers"]):
        got = run(model, ids, mask, sizes)
    for logits, real, wanted in zip(got, mask.bool(), want, strict=True):
        torch.testing.assert_close(logits[real], wanted, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("name", ALL)
def test_the_next_tokens_follow_the_text(name: str) -> None:
    check(make_model(name, ALL), masked([RIGHT, [[1, 1, 1, 1]] * 2]), [6, 1, 2, 1])


@torch.no_grad()
def test_transformers_itself_loses_the_text() -> None:
    """It stores padding on the right as the last inputs, and lets the state decay."""
    model = make_model("Mamba")
    ids = torch.randint(3, 50, (2, 7), generator=torch.Generator().manual_seed(1))
    text = ids[:1, [0, 1, 2, 3, 6]]
    want = model(text).logits[0, -1]
    errors = []
    for patch in (nullcontext(), evenfall.patch("mamba", targets=["transformers"])):
        with patch:
            cache = model(ids[:, :6], attention_mask=torch.tensor(RIGHT), use_cache=True)
            state = {cache_name(model): cache[cache_name(model)]}
            errors.append((model(ids[:, 6:], **state).logits[0, -1] - want).abs().max())
    assert errors[1] < 2e-5 < 1e-2 < errors[0]


@torch.no_grad()
@pytest.mark.parametrize("name", ["Mamba", "FalconMamba", "Mamba2"])
@pytest.mark.parametrize("first", [LEFT, BOTH, GAPS], ids=["left", "both sides", "gaps"])
def test_padding_anywhere(name: str, first: list[list[int]]) -> None:
    mask = masked([first, [[1], [1]], GAPS, RIGHT, LEFT])
    check(make_model(name, ALL), mask, [6, 1, 6, 6, 6])


@torch.no_grad()
@pytest.mark.parametrize("name", ["Mamba", "FalconMamba"])
def test_rows_step_on_alone(name: str) -> None:
    """A row whose only token is padding keeps its state."""
    mask = masked([RIGHT, [[1, 0, 1], [0, 0, 1]]])
    check(make_model(name), mask, [6, 1, 1, 1])


@torch.no_grad()
def test_projections_with_a_bias() -> None:
    """The bias makes padding on the left visible to the convolution."""
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, use_bias=True)
    model = make_model("biased", {"biased": lambda: MambaForCausalLM(config)})
    for layer in model.backbone.layers:
        torch.nn.init.normal_(layer.mixer.in_proj.bias)
    check(model, masked([LEFT, [[1, 1]] * 2]), [6, 2])


@torch.no_grad()
def test_a_short_first_call() -> None:
    """Fewer tokens than the convolution has inputs."""
    check(make_model("Mamba"), masked([[[1, 0], [0, 1]], [[1, 1]] * 2]), [2, 1, 1])


@torch.no_grad()
def test_generation_goes_on_from_a_right_padded_prompt() -> None:
    model = make_model("Mamba")
    ids = torch.randint(3, 50, (2, 6), generator=torch.Generator().manual_seed(1))
    mask = torch.tensor(RIGHT)
    settings: dict[str, Any] = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    with evenfall.patch("mamba", targets=["transformers"]):
        cache = model(ids, attention_mask=mask, use_cache=True)[cache_name(model)]
        token = ids[:, :1]
        got = []
        for _ in range(4):
            got.append(token)
            out = model(token, use_cache=True, **{cache_name(model): cache})
            token = out.logits[:, -1:].argmax(-1)
        got.append(token)
    for row in range(2):
        text = torch.cat([ids[row, mask[row].bool()], ids[row, :1]])[None]
        want = model.generate(text, attention_mask=torch.ones_like(text), **settings)
        assert torch.equal(torch.cat(got, 1)[row], want[0, text.shape[1] - 1 :])


def test_gradients_with_right_padding() -> None:
    model = make_model("Mamba").train()
    ids = torch.randint(3, 50, (2, 6), generator=torch.Generator().manual_seed(1))
    labels = ids.masked_fill(torch.tensor(RIGHT) == 0, -100)

    def gradients() -> dict[str, Tensor]:
        model.zero_grad()
        model(ids, attention_mask=torch.tensor(RIGHT), labels=labels).loss.backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    want = gradients()
    with evenfall.patch("mamba", targets=["transformers"]):
        got = gradients()
    for name, value in want.items():
        scale = float(value.abs().max().clamp(min=1e-2))
        torch.testing.assert_close(got[name] / scale, value / scale, **CLOSE)


@torch.no_grad()
def test_it_compiles() -> None:
    model, mask = make_model("Mamba"), torch.tensor(GAPS)
    ids = torch.randint(3, 50, (2, 6), generator=torch.Generator().manual_seed(1))
    with evenfall.patch("mamba", targets=["transformers"]):
        want = model(ids, attention_mask=mask, use_cache=False).logits
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        got = compiled(ids, attention_mask=mask, use_cache=False).logits
    torch.compiler.reset()
    torch.testing.assert_close(got[mask.bool()], want[mask.bool()], **CLOSE)


def test_gaps_are_closed_and_opened() -> None:
    real = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 1]]).bool()
    signal = torch.arange(1.0, 9).view(2, 1, 4)
    closed = padding.close_gaps(real, signal)
    assert closed.tolist() == [[[1, 3, 4, 0]], [[8, 0, 0, 0]]]
    assert torch.equal(padding.open_gaps(real, closed)[real[:, None]], signal[real[:, None]])
    inputs = torch.cat([torch.tensor([[[-2.0, -1]], [[-4, -3]]]), closed], 2)
    assert padding.last_inputs(real, inputs, 2).tolist() == [[[3, 4]], [[-3, 8]]]


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_padding_keeps_the_precision_of_the_steps(dtype: torch.dtype) -> None:
    """dt and its bias are added in the precision of the scan, as without padding."""
    g = torch.Generator().manual_seed(0)
    x, dt, bias = torch.randn(1, 6, 4, 8, generator=g), torch.randn(1, 6, 4, generator=g), 3.3
    B, C = torch.randn(2, 1, 6, 1, 8, generator=g).to(dtype)
    x, dt, dt_bias = x.to(dtype), dt.to(dtype), torch.full((4,), bias, dtype=dtype)
    options: dict[str, Any] = {"chunk_size": 4, "dt_bias": dt_bias, "dt_softplus": True}
    A = -torch.rand(4, generator=g)

    def scan(steps: int) -> Tensor:
        signals = (t[:, :steps] for t in (x, dt))
        out: Tensor = mamba2.mamba2_chunk_scan(*signals, A, B[:, :steps], C[:, :steps], **options)
        return out[:, :5]

    with evenfall.use_backend("reference"):
        want = scan(5)
        with_padding_record(lambda hidden, mask: hidden)(x, torch.tensor([[1, 1, 1, 1, 1, 0]]))
        got = scan(6)
    torch.testing.assert_close(got, want, rtol=0, atol=0)
