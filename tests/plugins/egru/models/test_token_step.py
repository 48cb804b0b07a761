"""One token in one call: the same results as from the modules, and when it is not used."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn.utils import parametrize as parametrizations
from torch.nn.utils import prune
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import DynamicCache

from evenfall import use_backend
from evenfall.counting import count_operations
from evenfall_egru.baselines.configuration import RnnConfig
from evenfall_egru.baselines.modeling import RnnForCausalLM
from evenfall_egru.models import step_egru
from evenfall_egru.models.fast_egru import make_output
from evenfall_egru.models.layer_egru import EgruLayer
from evenfall_egru.models.pretrained_egru import CACHE, EgruCausalLMOutput
from evenfall_kernels import StoredMatrix, compress_blocks
from evenfall_kernels.ops.egru_step import stack as stacks

PROMPT = torch.tensor([[7, 3, 11, 2, 30]])
TOKENS = torch.tensor([[4], [19]])


class Taken:
    """How many tokens went through egru_step; `off()` runs the modules instead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, step = 0, step_egru.egru_step

        def counted(*arguments: Any) -> Any:
            self.count += 1
            return step(*arguments)

        monkeypatch.setattr(step_egru, "egru_step", counted)

    def pop(self) -> int:
        count, self.count = self.count, 0
        return count

    @contextmanager
    def off(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(step_egru.TokenStep, "run", lambda *_: None)
            yield


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    return Taken(monkeypatch)


@pytest.fixture(autouse=True)
def no_gradient() -> Iterator[None]:
    with torch.no_grad():
        yield


def prefilled(model: Any, batch: int = 1) -> DynamicCache:
    """A cache after the prompt."""
    cache = DynamicCache(config=model.config)
    model(PROMPT.expand(batch, -1), past_key_values=cache)
    return cache


def next_logits(model: Any, batch: int = 1, **options: Any) -> torch.Tensor:
    """The logits of a token after the prompt, (batch, 1, V)."""
    return model(TOKENS[:batch], past_key_values=prefilled(model, batch), **options).logits


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    "settings",
    [
        {"threshold_mean": 0.2},
        {"carry": "output"},
        {"hidden_sizes": [20, 16]},
        {"hidden_sizes": [30, 20, 12], "tie_word_embeddings": False},
        {"input_table": True},
    ],
    ids=lambda settings: next(iter(settings.items()))[0],
)
def test_equals_the_modules(
    make_egru: Callable[..., Any], taken: Taken, batch: int, settings: dict[str, Any]
) -> None:
    """Logits and states, over several tokens."""
    model = make_egru(embedding_range=1.0, **settings)
    caches = [prefilled(model, batch), prefilled(model, batch)]
    for token in (TOKENS, TOKENS.flip(0), TOKENS):
        got = model(token[:batch], past_key_values=caches[0])
        assert taken.pop() == 1
        with taken.off():
            want = model(token[:batch], past_key_values=caches[1])
        torch.testing.assert_close(got.logits, want.logits, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(caches[0].layers, caches[1].layers, strict=True):
        torch.testing.assert_close(ours.keys, theirs.keys, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.values, theirs.values, rtol=1e-5, atol=1e-6)
        assert ours.get_seq_length() == theirs.get_seq_length() == 8


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_models(
    make_egru: Callable[..., Any], taken: Taken, dtype: torch.dtype
) -> None:
    model = make_egru(embedding_range=1.0).to(dtype)
    got = next_logits(model)
    assert taken.pop() == 1
    assert got.dtype == dtype
    with taken.off():
        torch.testing.assert_close(got, next_logits(model), rtol=3e-2, atol=3e-2)


def test_the_decoder_of_a_rounded_model_takes_half_the_bytes(
    make_egru: Callable[..., Any], taken: Taken
) -> None:
    """As of a published checkpoint; the products are the same."""
    model = make_egru(embedding_range=1.0).bfloat16().float()
    got = next_logits(model)
    assert taken.pop() == 1
    assert model.lm_head.by_unit().dtype == torch.bfloat16
    assert torch.equal(model.lm_head.by_unit().float(), model.lm_head.weight.t())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.lm_head, "by_unit", lambda: model.lm_head.weight.t().contiguous())
        assert torch.equal(next_logits(model), got)
    model.lm_head.weight.data[3, 5] += 1e-4
    next_logits(model)
    assert model.lm_head.by_unit().dtype == torch.float32


@pytest.mark.parametrize("options", [{}, {"num_beams": 2}, {"num_return_sequences": 2}])
def test_generate_gives_the_same_text(
    make_egru: Callable[..., Any], taken: Taken, options: dict[str, Any]
) -> None:
    model = make_egru(embedding_range=1.0, threshold_mean=0.2)
    options = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False, **options}
    if "num_return_sequences" in options:
        options["do_sample"] = True
    torch.manual_seed(0)
    got = model.generate(PROMPT, **options)
    assert taken.pop() == 11  # all but the first new token, which the prompt gives
    torch.manual_seed(0)
    with taken.off():
        assert torch.equal(got, model.generate(PROMPT, **options))


def store(module: Any, name: str, matrix: torch.Tensor, **options: Any) -> None:
    """Replace a weight by a stored matrix, as compress() does."""
    stored = StoredMatrix(compress_blocks(matrix, 4, **options))
    delattr(module, name)
    setattr(module, name, stored)


def compressed(make_egru: Callable[..., Any]) -> Any:
    """A model whose second layer and decoder are compressed, and half of the first layer."""
    model = make_egru(embedding_range=1.0, tie_word_embeddings=False)
    first, second = model.model.layers
    store(first, "recurrent_kernel", first.recurrent_kernel)
    store(second, "kernel", second.kernel)
    store(second, "recurrent_kernel", second.recurrent_kernel, dtype=torch.int8)
    store(model.lm_head, "weight", model.lm_head.weight.t().contiguous())
    return model


@pytest.mark.parametrize("table", [False, True])
def test_compressed_models(make_egru: Callable[..., Any], taken: Taken, table: bool) -> None:
    model = compressed(make_egru)
    model.config.input_table = table
    got = next_logits(model, 2)
    assert taken.pop() == 1
    with taken.off():
        torch.testing.assert_close(got, next_logits(model, 2), rtol=1e-5, atol=1e-6)
    other = copy.deepcopy(model)
    other.lm_head.weight.values.data += 1
    assert not torch.equal(next_logits(other, 2), got)
    assert torch.equal(next_logits(model, 2), got)
    assert taken.pop() == 2
    model.lm_head.weight.register_forward_hook(hook)
    next_logits(model)
    assert taken.pop() == 0


def test_generate_makes_no_position_ids(make_egru: Callable[..., Any], monkeypatch) -> None:
    model, seen = make_egru().eval(), []
    forward = type(model).forward

    @functools.wraps(forward)
    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(options.get("position_ids"))
        return forward(*arguments, **options)

    monkeypatch.setattr(type(model), "forward", watched)
    model.generate(PROMPT, max_new_tokens=3, min_new_tokens=3, do_sample=False)
    assert seen == [None] * 3


def test_a_prompt_padded_on_the_left_is_continued_in_one_call(
    make_egru: Callable[..., Any], taken: Taken
) -> None:
    model = make_egru(embedding_range=1.0)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]])
    cache = DynamicCache(config=model.config)
    model(PROMPT.expand(2, -1), attention_mask=mask[:, :-1], past_key_values=cache)
    got = model(TOKENS, attention_mask=mask, past_key_values=cache).logits
    assert taken.pop() == 1
    alone = DynamicCache(config=model.config)
    model(PROMPT[:, 2:], past_key_values=alone)
    torch.testing.assert_close(got[1:], model(TOKENS[1:], past_key_values=alone).logits)


class Functions(TorchFunctionMode):
    """A mode that sees each function of torch."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
        return function(*args, **(kwargs or {}))


class Operators(TorchDispatchMode):
    """A mode that sees each operator of torch."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
        return function(*args, **(kwargs or {}))


class OtherLayer(EgruLayer):
    """A layer of another class."""


def hook(*_: Any) -> None:
    """A hook that changes nothing."""


def replace_layer(model: Any) -> None:
    layer = OtherLayer(model.config, 1)
    layer.load_state_dict(model.model.layers[1].state_dict())
    model.model.layers[1] = layer.eval()


def wrap_forward(model: Any) -> None:
    """As accelerate does."""
    layer = model.model.layers[0]
    forward = layer.forward
    layer.forward = lambda *args, **kwargs: forward(*args, **kwargs)


def add_adapter(model: Any) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, init_lora_weights=False, target_modules=["lm_head"])
    peft.inject_adapter_in_model(config, model)
    model.eval()


def add_parametrization(model: Any) -> None:
    parametrizations.register_parametrization(
        model.model.layers[0], "kernel", nn.Identity(), unsafe=True
    )


PREPARE: dict[str, Callable[[Any], object]] = {
    "a hook on a layer": lambda m: m.model.layers[0].register_forward_hook(hook),
    "a hook before the decoder": lambda m: m.lm_head.register_forward_pre_hook(hook),
    "a hook on the base model": lambda m: m.model.register_forward_hook(hook),
    "a hook on the embedding": lambda m: m.model.embed_tokens.register_forward_hook(hook),
    "a backward hook": lambda m: m.model.layers[0].register_full_backward_hook(hook),
    "another layer": replace_layer,
    "a wrapped forward": wrap_forward,
    "an adapter": add_adapter,
    "a parametrization": add_parametrization,
    "a mask of torch.nn.utils.prune": lambda m: prune.identity(m.model.layers[0], "kernel"),
    "a compiled layer": lambda m: m.model.layers[0].compile(backend="eager"),
    "a layer in training": lambda m: m.model.layers[0].train(),
    "float64": lambda m: m.double(),
    "a limited norm": lambda m: setattr(m.model.embed_tokens, "max_norm", 1e6),
    "dense products": lambda m: setattr(m.config, "event_driven", False),
    "hidden states by the configuration": lambda m: setattr(m.config, "output_hidden_states", True),
}


@pytest.mark.parametrize("name", list(PREPARE))
def test_is_not_used_where_a_part_of_the_model_would_be_missed(
    make_egru: Callable[..., Any], taken: Taken, name: str
) -> None:
    model = make_egru(embedding_range=1.0, tie_word_embeddings=False)
    next_logits(model)
    assert taken.pop() == 1  # weights are laid out: the change must be noticed, too
    PREPARE[name](model)
    next_logits(model)
    assert taken.pop() == 0


@pytest.mark.parametrize("settings", [{"zoneout": 0.1}, {"variant": "paper"}])
def test_is_not_used_for_other_equations(
    make_egru: Callable[..., Any], taken: Taken, settings: dict[str, Any]
) -> None:
    next_logits(make_egru(**settings))
    assert taken.pop() == 0


@pytest.mark.parametrize(
    "options",
    [
        {"output_events": True},
        {"output_hidden_states": True},
        {"labels": TOKENS[:1]},
        {"attention_mask": torch.tensor([[1, 1, 1, 1, 1, 0]])},
        {"logits_to_keep": torch.tensor([0])},
        {"is_causal": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_is_not_used_for_other_outputs(
    make_egru: Callable[..., Any], taken: Taken, options: dict[str, Any]
) -> None:
    next_logits(make_egru(), **options)
    assert taken.pop() == 0


def test_is_not_used_for_models_of_other_layers(taken: Taken) -> None:
    config = RnnConfig(vocab_size=41, embedding_size=12, hidden_sizes=[20, 12])
    next_logits(RnnForCausalLM(config).eval())
    assert taken.pop() == 0


def test_is_not_used_for_other_inputs(make_egru: Callable[..., Any], taken: Taken) -> None:
    model = make_egru()
    cache = prefilled(model)
    model(inputs_embeds=model.model.embed_tokens(TOKENS[:1]), past_key_values=cache)
    model(torch.tensor([[1, 2]]), past_key_values=cache)
    model(TOKENS[:1].int(), past_key_values=cache)
    model(TOKENS[:1], use_cache=False)
    model(TOKENS[:1], past_key_values=DynamicCache(config=model.config))
    model(torch.tensor([[1], [2], [3]]), past_key_values=prefilled(model, 3))
    assert taken.pop() == 0


def test_is_not_used_with_a_gradient_or_in_training(
    make_egru: Callable[..., Any], taken: Taken
) -> None:
    model = make_egru()
    with torch.enable_grad():
        assert next_logits(model).requires_grad
    next_logits(model.train())
    assert taken.pop() == 0
    next_logits(model.eval())
    assert taken.pop() == 1


@pytest.mark.parametrize(
    "mode",
    [
        Functions,
        Operators,
        lambda: torch.autocast("cpu"),
        lambda: torch.device("cpu"),
        lambda: use_backend("reference"),
        lambda: use_backend("reference", "egru_scan"),
        lambda: use_backend("reference", "event_matmul"),
    ],
    ids=["functions", "operators", "autocast", "device", "reference", "scan", "product"],
)
def test_is_not_used_where_something_sees_each_operation(
    make_egru: Callable[..., Any], taken: Taken, mode: Callable[[], Any]
) -> None:
    model = make_egru()
    cache = prefilled(model)
    with mode():
        model(TOKENS[:1], past_key_values=cache)
    assert taken.pop() == 0
    model(TOKENS[:1], past_key_values=cache)
    assert taken.pop() == 1


def test_is_not_used_with_hooks_of_all_modules(make_egru: Callable[..., Any], taken: Taken) -> None:
    model = make_egru()
    handle = nn.modules.module.register_module_forward_hook(hook)
    try:
        next_logits(model)
    finally:
        handle.remove()
    assert taken.pop() == 0


def test_is_not_used_without_the_kernels(
    make_egru: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a published folder, where the import fails."""
    model = make_egru()
    want = next_logits(model)
    monkeypatch.setattr(step_egru, "egru_step", None)
    torch.testing.assert_close(next_logits(model), want, rtol=1e-5, atol=1e-6)


def test_is_not_used_while_compiling(make_egru: Callable[..., Any], taken: Taken) -> None:
    model = make_egru()
    cache = prefilled(model)
    want = next_logits(model)
    assert taken.pop() == 1
    compiled = torch.compile(model, backend="eager")
    torch.testing.assert_close(compiled(TOKENS[:1], past_key_values=cache).logits, want)
    assert taken.pop() == 0


def test_is_not_used_while_tracing_or_exporting(
    make_egru: Callable[..., Any], taken: Taken
) -> None:
    model = make_egru()
    states = [(layer.keys, layer.values) for layer in prefilled(model).layers]

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, token: torch.Tensor) -> torch.Tensor:
            cache = DynamicCache(config=model.config)
            for layer, state in zip(cache.layers, states, strict=True):
                layer.update(*state)
            return self.model(token, past_key_values=cache).logits

    token, other = TOKENS[:1], TOKENS[1:]
    want = Wrapped()(other)
    assert taken.pop() == 1
    traced = torch.jit.trace(Wrapped(), token, check_trace=False)
    exported = torch.export.export(Wrapped(), (token,)).module()
    assert taken.pop() == 0
    torch.testing.assert_close(traced(other), want, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(exported(other), want, rtol=1e-5, atol=1e-6)


def test_counters_see_the_parts_of_a_token(make_egru: Callable[..., Any], taken: Taken) -> None:
    model = make_egru()
    count = count_operations(model, TOKENS[:1], past_key_values=prefilled(model))
    assert taken.pop() == 0
    assert count.total.dense_macs == 12 * 60 + 20 * 60 + 20 * 36 + 12 * 36 + 12 * 41


@pytest.mark.parametrize("name", ["kernel", "recurrent_kernel", "bias", "threshold"])
def test_changed_weights_of_a_layer_count_at_once(
    make_egru: Callable[..., Any], taken: Taken, name: str
) -> None:
    model = make_egru(embedding_range=1.0)
    before = next_logits(model)
    getattr(model.model.layers[0], name).data.view(-1)[::2] += 0.5  # _version stays 0
    cache = prefilled(model)
    after = model(TOKENS[:1], past_key_values=cache).logits
    assert taken.pop() == 2
    assert not torch.equal(before, after)
    with taken.off():
        torch.testing.assert_close(after, next_logits(model), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("table", [False, True])
def test_one_changed_element_counts_after_a_prompt(
    make_egru: Callable[..., Any], taken: Taken, table: bool
) -> None:
    """Copies of the decoder and the table of inputs are compared with the weights."""
    model = make_egru(embedding_range=1.0, input_table=table, tie_word_embeddings=False)
    next_logits(model)
    model.lm_head.weight.data[40, 3] += 1  # neither samples nor the version show it
    model.model.embed_tokens.weight.data[4, 7] += 1
    model.model.layers[0].kernel.data[5, 9] += 1
    got = next_logits(model)
    assert taken.pop() == 2
    with taken.off():
        model.lm_head._by_unit.forget()
        torch.testing.assert_close(got, next_logits(model), rtol=1e-5, atol=1e-6)


def double_weights(model: Any) -> None:
    for parameter in {id(p): p for p in model.parameters()}.values():
        parameter.data = parameter.data * 2


@pytest.mark.parametrize(
    "change",
    [
        double_weights,
        lambda m: m.load_state_dict({n: 2 * t for n, t in m.state_dict().items()}),
        lambda m: m.load_state_dict({n: 2 * t for n, t in m.state_dict().items()}, assign=True),
        lambda m: setattr(m.model.layers[0], "kernel", nn.Parameter(torch.ones(12, 60))),
        lambda m: m.bfloat16().float(),
        lambda m: m.resize_token_embeddings(50),
    ],
    ids=["data", "loaded", "assigned", "replaced", "rounded", "resized"],
)
def test_replaced_weights_count(
    make_egru: Callable[..., Any], taken: Taken, change: Callable[[Any], object]
) -> None:
    model = make_egru(embedding_range=1.0)
    cache = prefilled(model)
    model(TOKENS[:1], past_key_values=copy.deepcopy(cache))
    change(model)
    got = model(TOKENS[:1], past_key_values=copy.deepcopy(cache)).logits
    assert taken.pop() == 2
    with taken.off():
        want = model(TOKENS[:1], past_key_values=cache).logits
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_a_copied_model_has_its_own_weights(make_egru: Callable[..., Any], taken: Taken) -> None:
    model = make_egru(embedding_range=1.0)
    before = next_logits(model)
    other = copy.deepcopy(model)
    other.model.layers[0].bias.data += 1
    assert not torch.equal(next_logits(other), before)
    assert torch.equal(next_logits(model), before)
    assert taken.pop() == 3
    assert pickle.loads(pickle.dumps(model._token_step))._prepared is None


def test_moved_weights_are_not_kept_alive(make_egru: Callable[..., Any]) -> None:
    model = make_egru()
    next_logits(model)
    assert model._token_step._prepared is not None
    model.to(torch.bfloat16)
    assert model._token_step._prepared is None


def test_former_states_are_not_changed(make_egru: Callable[..., Any], taken: Taken) -> None:
    model = make_egru(embedding_range=1.0)
    cache = prefilled(model)
    y, h = cache.layers[0].state()
    copies = y.clone(), h.clone()
    model(TOKENS[:1], past_key_values=cache, use_cache=False)
    assert cache.layers[0].keys is y
    assert cache.get_seq_length() == 5
    model(TOKENS[:1], past_key_values=cache)
    assert cache.get_seq_length() == 6
    assert not torch.equal(cache.layers[0].values, h)
    assert torch.equal(y, copies[0])
    assert torch.equal(h, copies[1])
    assert taken.pop() == 2


def test_outputs_are_those_of_the_modules(make_egru: Callable[..., Any], taken: Taken) -> None:
    model = make_egru()
    logits = torch.ones(1, 1, 41)
    for cache in (prefilled(model), None):
        fast = make_output(EgruCausalLMOutput, logits=logits, **{CACHE: cache})
        slow = EgruCausalLMOutput(logits=logits, **{CACHE: cache})
        assert type(fast) is type(slow)
        assert list(fast.items()) == list(slow.items())
        assert fast.__dict__ == slow.__dict__
        assert fast.to_tuple() == slow.to_tuple()
        flat, want = (torch.utils._pytree.tree_flatten(x) for x in (fast, slow))
        assert flat[1] == want[1]
    got = model(TOKENS[:1], past_key_values=prefilled(model), return_dict=False)
    assert taken.pop() == 1
    assert isinstance(got, tuple)
    assert got[0].shape == (1, 1, 41)
    assert isinstance(got[1], DynamicCache)


def test_unknown_words_and_arguments_are_errors(make_egru: Callable[..., Any]) -> None:
    model = make_egru()
    with pytest.raises(IndexError, match=r"ids must be in \[0, 41\), got 41"):
        model(torch.tensor([[41]]), past_key_values=prefilled(model))
    with pytest.raises(TypeError, match="no argument 'attention_maks'"):
        model(TOKENS[:1], past_key_values=prefilled(model), attention_maks=1)
    with pytest.raises(ValueError, match="attention_mask must have shape"):
        next_logits(model, attention_mask=torch.ones(2, 6))
    with pytest.raises(ValueError, match="past_key_values must be DynamicCache"):
        model(TOKENS[:1], past_key_values=DynamicCache(config=make_egru(hidden_sizes=[12]).config))


def test_a_table_that_is_too_large_is_an_error(
    make_egru: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "MAX_TABLE_BYTES", 1000)
    with pytest.raises(ValueError, match="41 rows of 60 float32 take"):
        next_logits(make_egru(input_table=True))
