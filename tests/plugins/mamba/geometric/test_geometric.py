"""GeometricMamba: equal to Mamba without coordinates, invariant to shifts, exact across calls."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    DynamicCache,
    MambaConfig,
    MambaForCausalLM,
)

import evenfall
from evenfall_mamba.geometric import (
    GeometricMambaConfig,
    GeometricMambaForCausalLM,
    GeometricMambaModel,
)

from ..patch.test_adapters import check_merged

SIZES = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
CLOSE: dict[str, float] = {"rtol": 0, "atol": 1e-5}


@pytest.fixture
def mamba() -> MambaForCausalLM:
    torch.manual_seed(0)
    model = MambaForCausalLM(MambaConfig(**SIZES))
    for layer in model.backbone.layers:
        torch.nn.init.uniform_(layer.mixer.x_proj.weight, -0.5, 0.5)
    return model.eval()


@pytest.fixture
def model(mamba: MambaForCausalLM) -> GeometricMambaForCausalLM:
    return geometric(mamba)


@pytest.fixture
def times() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.empty(2, 12, dtype=torch.float64).exponential_(0.1, generator=generator).cumsum(1)


def geometric(mamba: MambaForCausalLM, **options: Any) -> GeometricMambaForCausalLM:
    """A model with the same weights, and the scales that loading sets."""
    model = GeometricMambaForCausalLM(GeometricMambaConfig(**SIZES, **options)).eval()
    keys = model.load_state_dict(mamba.state_dict(), strict=False)
    assert not keys.unexpected_keys
    assert all(key.endswith("step_bias") for key in keys.missing_keys)
    with torch.no_grad():
        for layer in model.backbone.layers:
            layer.mixer.step_bias.copy_(layer.mixer.dt_proj.bias)
    return model


def in_pieces(model: Any, ids: Tensor, sizes: list[int], **signals: Tensor) -> Tensor:
    cache, parts, start = None, [], 0
    for size in sizes:
        part = slice(start, start + size)
        more = {name: signal[:, part] for name, signal in signals.items()}
        out = model(ids[:, part], cache=cache, use_cache=True, **more)
        cache, start = out[1], start + size
        parts.append(out.logits)
    return torch.cat(parts, dim=1)


@torch.no_grad()
def test_without_coordinates_it_is_mamba(mamba: Any, model: Any, ids: Tensor) -> None:
    want = mamba(ids, labels=ids, output_hidden_states=True)
    got = model(ids, labels=ids, output_hidden_states=True)
    torch.testing.assert_close(got.logits, want.logits, **CLOSE)
    torch.testing.assert_close(got.loss, want.loss, **CLOSE)
    torch.testing.assert_close(got.hidden_states, want.hidden_states, **CLOSE)
    with evenfall.patch("mamba", targets=["transformers"]):
        torch.testing.assert_close(model(ids).logits, want.logits, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("unit", [1.0, 20.0])
def test_unit_steps_are_mamba_where_its_steps_ignore_the_input(
    mamba: Any, ids: Tensor, unit: float
) -> None:
    for layer in mamba.backbone.layers:
        layer.mixer.dt_proj.weight.zero_()
    model = geometric(mamba, coordinate_unit=unit)
    coordinates = unit * torch.arange(12.0).expand(2, -1)
    got = model(ids, coordinates=coordinates).logits
    torch.testing.assert_close(got, mamba(ids).logits, **CLOSE)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:.*slow backend")  # only the reference supports float64
def test_mixer_is_the_sum_over_all_pairs_of_tokens(model: Any, times: Tensor) -> None:
    mixer = model.backbone.layers[0].mixer.double()
    mixer.config.coordinate_unit = 4.0
    hidden = torch.randn(2, 12, 32, dtype=torch.float64)
    x, gate = mixer.in_proj(hidden).transpose(1, 2).chunk(2, dim=1)
    x = F.silu(mixer.conv1d(x)[..., :12])
    rank, B, C = mixer.x_proj(x.transpose(1, 2)).split([mixer.time_step_rank, 8, 8], dim=-1)
    push = F.softplus(mixer.dt_proj(rank)).transpose(1, 2) * x  # (B, D, L)
    rate = -mixer.A_log.exp() * F.softplus(mixer.step_bias)[:, None] / 4  # (D, N)
    gaps = (times[:, :, None] - times[:, None, :]).clamp(min=0)  # (B, L, L)
    decay = torch.exp(rate[None, :, :, None, None] * gaps[:, None, None]).tril()
    y = torch.einsum("bkn,bdnkj,bjn,bdj->bdk", C, decay, B, push) + mixer.D[:, None] * x
    want = mixer.out_proj((y * F.silu(gate)).transpose(1, 2))
    steps = torch.diff(times, prepend=times[:, :1])
    torch.testing.assert_close(mixer(hidden, steps=steps), want, rtol=0, atol=1e-6)


@torch.no_grad()
def test_gaps_matter_and_a_shift_does_not(model: Any, ids: Tensor, times: Tensor) -> None:
    here = model(ids, coordinates=times).logits
    wider = times.clone()
    wider[:, 6:] += 50
    assert (model(ids, coordinates=wider).logits[:, 6:] - here[:, 6:]).abs().max() > 1e-3
    torch.testing.assert_close(model(ids, coordinates=wider).logits[:, :6], here[:, :6], **CLOSE)
    for shift in (-1e3, 1.7e9):
        torch.testing.assert_close(model(ids, coordinates=times + shift).logits, here, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[8, 4], [1] * 12, [2, 1, 5, 4]])
def test_pieces_with_a_cache_equal_the_whole(
    model: Any, ids: Tensor, times: Tensor, sizes: list[int]
) -> None:
    torch.testing.assert_close(in_pieces(model, ids, sizes), model(ids).logits, **CLOSE)
    whole = model(ids, coordinates=times).logits
    torch.testing.assert_close(in_pieces(model, ids, sizes, coordinates=times), whole, **CLOSE)


def test_pieces_have_the_whole_s_gradient(model: Any, ids: Tensor, times: Tensor) -> None:
    def gradient(sizes: list[int]) -> Tensor:
        model.zero_grad()
        in_pieces(model, ids, sizes, coordinates=times)[:, 8:].square().mean().backward()
        return model.backbone.layers[1].mixer.step_bias.grad.clone()

    torch.testing.assert_close(gradient([8, 4]), gradient([12]), rtol=1e-3, atol=1e-7)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[12], [2, 6, 4]])
def test_left_padding_changes_nothing(
    model: Any, ids: Tensor, times: Tensor, sizes: list[int]
) -> None:
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    times[0, :5] = torch.nan
    signals = {"coordinates": times, "attention_mask": mask}
    got = in_pieces(model, ids, sizes, **signals)
    alone = model(ids[:1, 5:], coordinates=times[:1, 5:]).logits
    torch.testing.assert_close(got[:1, 5:], alone, **CLOSE)
    torch.testing.assert_close(got[1:], model(ids[1:], coordinates=times[1:]).logits, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("with_times", [False, True])
@pytest.mark.parametrize("patched", [False, True])
def test_padding_anywhere_changes_nothing(
    model: Any, ids: Tensor, times: Tensor, with_times: bool, patched: bool
) -> None:
    mask = torch.ones_like(ids)
    mask[0, [0, 4, 5, 7, 11]] = 0
    real = mask[0].bool()
    alone_times = {"coordinates": times[:1, real]} if with_times else {}
    alone = model(ids[:1, real], **alone_times).logits
    signals = {"attention_mask": mask, **({"coordinates": times} if with_times else {})}
    with evenfall.patch("mamba", targets=["transformers"]) if patched else nullcontext():
        got = in_pieces(model, ids, [6, 1, 1, 4], **signals)
    torch.testing.assert_close(got[:1, real], alone, **CLOSE)


@torch.no_grad()
def test_a_mamba_checkpoint_loads(mamba: Any, ids: Tensor, tmp_path: Path) -> None:
    mamba.config.rescale_prenorm_residual = True  # must not rescale loaded weights
    mamba.save_pretrained(tmp_path)
    model = GeometricMambaForCausalLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(model(ids).logits, mamba(ids).logits, **CLOSE)
    for layer in model.backbone.layers:
        assert torch.equal(layer.mixer.step_bias, layer.mixer.dt_proj.bias)
    base = GeometricMambaModel.from_pretrained(tmp_path)
    assert torch.equal(base.layers[0].mixer.step_bias, model.backbone.layers[0].mixer.step_bias)


@torch.no_grad()
def test_saved_and_loaded_by_the_auto_classes(
    model: Any, ids: Tensor, times: Tensor, tmp_path: Path
) -> None:
    model.config.coordinate_unit, model.config.generation_step = 5.0, 2
    model.backbone.layers[0].mixer.step_bias.add_(1)
    model.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert (config.model_type, config.generation_step) == ("geometric_mamba", 2)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    want = model(ids, coordinates=times).logits
    assert torch.equal(loaded(ids, coordinates=times).logits, want)
    assert isinstance(AutoModel.from_pretrained(tmp_path), GeometricMambaModel)
    assert evenfall.registry.models.get("GeometricMambaModel") is GeometricMambaModel


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_coordinates_and_every_parameter(
    model: Any, ids: Tensor, times: Tensor, checkpointing: bool, checkpoint_activations: Any
) -> None:
    model.train()
    if checkpointing:
        checkpoint_activations(model)
    times.requires_grad_()
    model(ids, labels=ids, coordinates=times).loss.backward()
    named = {"coordinates": times, **dict(model.named_parameters())}
    without_gradient = [
        name for name, p in named.items() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert not without_gradient
    assert all(p.grad.isfinite().all() for p in named.values())


def test_gradient_of_the_scale_is_the_difference_quotient(
    model: Any, ids: Tensor, times: Tensor
) -> None:
    bias = model.backbone.layers[0].mixer.step_bias
    model(ids, coordinates=times).logits.square().mean().backward()
    direction = bias.grad.sign()
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            bias.add_(direction, alpha=sign * 1e-2)
            values.append(model(ids, coordinates=times).logits.double().square().mean())
            bias.sub_(direction, alpha=sign * 1e-2)
    quotient = (values[0] - values[1]) / 2e-2
    torch.testing.assert_close(bias.grad.abs().sum().double(), quotient, rtol=2e-2, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"use_cache": False}])
def test_generation_goes_on_by_its_step(
    mamba: Any, ids: Tensor, times: Tensor, options: dict[str, Any]
) -> None:
    model = geometric(mamba, generation_step=40.0)
    more = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, **options}
    out = model.generate(
        ids, coordinates=times, return_dict_in_generate=True, output_logits=True, **more
    )
    if "num_beams" in options:  # compares with a search without cache
        more["use_cache"] = False
        assert torch.equal(out.sequences, model.generate(ids, coordinates=times, **more))
        return
    after = times[:, -1:] + 40 * torch.arange(1, 5)
    want = model(out.sequences, coordinates=torch.cat([times, after], 1)).logits[:, 11:-1]
    torch.testing.assert_close(torch.stack(out.logits, 1), want, **CLOSE)
    assert torch.equal(model.generate(ids, **more), mamba.generate(ids, **more))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda t: t.flip(1),
            ValueError,
            "must not decrease, within a call or from the previous call",
        ),
        (lambda t: t * torch.nan, ValueError, "must be finite, got nan in row 0 at token 0"),
        (lambda t: t / 0, ValueError, "must be finite, got inf"),
        (lambda t: t[:, 1:], ValueError, r"\(batch, tokens\) = \(2, 12\)"),
        (lambda t: t[0], ValueError, "shape"),
        (lambda t: t.long(), TypeError, "must be floating point, got torch.int64; use"),
        (lambda t: t.to("meta"), ValueError, "must be on cpu, like the tokens, got meta"),
    ],
)
def test_wrong_coordinates_are_refused(
    model: Any, ids: Tensor, times: Tensor, change: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        model(ids, coordinates=change(times))


@pytest.mark.parametrize("name", ["conv1d", "x_proj", "dt_proj"])
def test_an_adapter_equals_its_merged_weight(
    model: Any, ids: Tensor, times: Tensor, name: str
) -> None:
    mixer = model.backbone.layers[0].mixer
    torch.nn.init.zeros_(mixer.dt_proj.bias)  # so that the step is large enough to be seen
    check_merged(lambda: model(ids, coordinates=times, use_cache=False).logits, mixer, name)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seq_idx", [[0] * 5 + [1] * 7] * 2),
        ("cu_seq_lens_q", [0, 5, 12]),
        ("position_ids", [[*range(5), *range(7)]] * 2),
    ],
)
def test_packed_sequences_are_refused(model: Any, ids: Tensor, name: str, value: Any) -> None:
    for called in (model, model.backbone):
        with pytest.raises(ValueError, match=f"{name} must not mark packed sequences"):
            called(ids, use_cache=False, **{name: torch.tensor(value)})
    model(ids, use_cache=False, position_ids=torch.arange(12).expand(2, -1))


@torch.no_grad()
def test_calls_that_do_not_fit_the_cache_are_refused(
    model: Any, ids: Tensor, times: Tensor
) -> None:
    cache = model(ids, coordinates=times, use_cache=True)[1]
    with pytest.raises(
        ValueError, match="must not decrease, within a call or from the previous call"
    ):
        model(ids, coordinates=times, cache_params=cache)
    with pytest.raises(ValueError, match="coordinates must be a tensor, got None: earlier calls"):
        model(ids, cache_params=cache)
    with pytest.raises(ValueError, match="must be None, got a tensor: earlier calls"):
        model(ids, coordinates=times, cache_params=model(ids, use_cache=True)[1])
    foreign = DynamicCache(config=MambaConfig(**SIZES))
    with pytest.raises(ValueError, match="slot for coordinates, got a DynamicCache without one"):
        model(ids, cache_params=foreign)
    with pytest.raises(ValueError, match="attention_mask"):
        model(ids, coordinates=times, attention_mask=torch.ones(2, 3))


def test_forward_names_what_trainers_and_generate_look_for() -> None:
    host = list(inspect.signature(MambaForCausalLM.forward).parameters)
    ours = list(inspect.signature(GeometricMambaForCausalLM.forward).parameters)
    assert ours[-3:] == ["coordinates", "cache_params", "kwargs"]
    assert ours[:-3] == ["cache" if name == "cache_params" else name for name in host[:-1]]


@torch.no_grad()
def test_generation_from_left_padded_prompts(model: Any, ids: Tensor, times: Tensor) -> None:
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    more = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    got = model.generate(ids, coordinates=times, attention_mask=mask, **more)
    alone = model.generate(ids[:1, 5:], coordinates=times[:1, 5:], **more)
    assert torch.equal(got[0, 12:], alone[0, 7:])


def test_compiles_to_one_graph(model: Any, ids: Tensor, times: Tensor) -> None:
    with torch.no_grad():
        want = model(ids, coordinates=times, use_cache=False).logits
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        got = compiled(ids, coordinates=times, use_cache=False).logits
    torch.testing.assert_close(got, want, **CLOSE)


@torch.no_grad()
def test_half_precision_is_near(model: Any, ids: Tensor, times: Tensor) -> None:
    want = model(ids, coordinates=times).logits
    got = model.bfloat16()(ids, coordinates=times).logits
    assert (got - want).abs().max() < 0.05 * want.abs().max()


@pytest.mark.parametrize("options", [{"coordinate_unit": 0.0}, {"generation_step": -1.0}])
def test_wrong_configurations_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        GeometricMambaConfig(**options)


def recency(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, their times, and whether the last mark (token 1) was less than 10 time units ago."""
    marks = (torch.rand(32, 24, generator=generator) < 0.25).long()
    marks[:, 0] = 1
    gaps = torch.empty(32, 24).exponential_(1.0, generator=generator) ** 2 * 4
    times = gaps.cumsum(1)
    marked = torch.where(marks == 1, times, -torch.inf).cummax(1).values
    return marks, times, (times - marked < 10).long()


def accuracy(with_times: bool) -> float:
    """Accuracy on new data, for tokens that are no mark, after 60 training steps on such tokens."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    config = GeometricMambaConfig(vocab_size=4, hidden_size=16, num_hidden_layers=1, state_size=8)
    model = GeometricMambaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    hits = []
    for round_ in range(70):
        tokens, times, labels = recency(generator)
        logits = model(tokens, coordinates=times if with_times else None).logits[..., :2]
        no_mark = tokens == 0
        if round_ >= 60:
            hits.append((logits.argmax(-1) == labels)[no_mark].float().mean())
            continue
        optimizer.zero_grad()
        F.cross_entropy(logits[no_mark], labels[no_mark]).backward()
        optimizer.step()
    return float(torch.stack(hits).mean())


def test_times_teach_what_tokens_alone_cannot() -> None:
    with_times, without = accuracy(True), accuracy(False)
    assert with_times > without + 0.05, (with_times, without)
