"""What transformers does with a cache: kinds of caches, assisted decoding, taking tokens back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from transformers import DynamicCache, EncoderDecoderCache, StaticCache
from transformers.cache_utils import CacheLayerMixin

from evenfall_egru import EgruModel, RnnConfig, RnnForCausalLM

OPTIONS = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
PROMPT = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 3, 1, 4]])
MASK = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [1] * 7, [0] + [1] * 6])
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def egru(make_egru: Callable[..., Any]) -> Any:
    return make_egru(embedding_range=1.0, threshold_mean=0.2)


@pytest.fixture
def rnn() -> Any:
    torch.manual_seed(0)
    config = RnnConfig(vocab_size=41, embedding_size=12, hidden_sizes=[20, 12])
    return RnnForCausalLM(config).eval()


def make_cache(kind: Any, config: Any) -> Any:
    return kind(config=config, max_cache_len=4) if kind is StaticCache else kind(config=config)


@pytest.fixture
def batch() -> dict[str, Any]:
    ids = torch.randint(41, (3, 7), generator=torch.Generator().manual_seed(3))
    return {"input_ids": ids, "attention_mask": MASK}


@pytest.mark.parametrize("kind", ["egru", "rnn"])
@pytest.mark.parametrize("name", ["dynamic", "static", "sliding_window", "hybrid"])
@pytest.mark.parametrize("options", [{}, {"num_beams": 2}, {"prefill_chunk_size": 2}])
def test_named_caches_give_the_same_text(
    kind: str, name: str, options: dict[str, Any], batch: Any, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(kind)
    options = {**OPTIONS, "max_new_tokens": 4, **options}
    want = model.generate(**batch, **options)
    assert torch.equal(model.generate(**batch, cache_implementation=name, **options), want)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["egru", "rnn"])
def test_a_cache_that_is_passed_is_updated(kind: str, request: pytest.FixtureRequest) -> None:
    """As elsewhere in transformers, also where Trainer has turned config.use_cache off."""
    model = request.getfixturevalue(kind)
    want = model(PROMPT).logits[:, -2:]
    model.config.use_cache = False
    cache = DynamicCache(config=model.config)
    model(PROMPT[:, :-2], past_key_values=cache)
    got = [model(PROMPT[:, i : i + 1], past_key_values=cache).logits for i in (9, 10)]
    torch.testing.assert_close(torch.cat(got, 1), want)
    assert cache.get_seq_length() == 11
    model(PROMPT[:, :1], past_key_values=cache, use_cache=False)
    assert cache.get_seq_length() == 11
    assert model(PROMPT).past_key_values is None


def test_caches_of_tokens_are_refused(egru: Any) -> None:
    with pytest.raises(ValueError, match="egru"):
        egru.generate(PROMPT, cache_implementation="quantized", **OPTIONS)
    with pytest.raises(ValueError, match=r"call generate\(\) with a batch of prompts"):
        egru.generate(PROMPT, cache_implementation="paged", **OPTIONS)
    with pytest.raises(ValueError, match=r"num_hidden_layers is the length .* assistant_model"):
        egru.generate(PROMPT, assistant_early_exit=1, **OPTIONS)


@pytest.mark.parametrize("assistant", ["itself", "another", "prompt", "static"])
def test_assisted_decoding_gives_the_same_text(
    egru: Any, make_egru: Callable[..., Any], assistant: str
) -> None:
    small = make_egru(seed=1, embedding_size=8, hidden_sizes=[10, 8], embedding_range=1.0)
    options = {
        "itself": {"assistant_model": copy.deepcopy(egru)},
        "another": {"assistant_model": small},
        "prompt": {"prompt_lookup_num_tokens": 3},
        "static": {"prompt_lookup_num_tokens": 3, "cache_implementation": "static"},
    }[assistant]
    if assistant == "static" and not hasattr(CacheLayerMixin, "is_croppable"):
        pytest.skip("this version of transformers refuses a static cache in assisted decoding")
    want = egru.generate(PROMPT, **OPTIONS)
    assert torch.equal(egru.generate(PROMPT, **options, **OPTIONS), want)


def test_assisted_decoding_of_a_padded_prompt(egru: Any, batch: Any) -> None:
    one = {name: tensor[:1] for name, tensor in batch.items()}
    got = egru.generate(**one, prompt_lookup_num_tokens=2, **OPTIONS)
    assert torch.equal(got, egru.generate(**one, **OPTIONS))


def test_assisted_decoding_that_is_not_possible_is_refused(egru: Any, rnn: Any) -> None:
    with pytest.raises(ValueError, match="stateful"):
        rnn.generate(PROMPT, assistant_model=egru, **OPTIONS)
    with pytest.raises(ValueError, match=r"torch.nn.LSTM .* cannot take tokens back"):
        egru.generate(PROMPT, assistant_model=rnn, **OPTIONS)
    egru.config.carry = "output"
    with pytest.raises(ValueError, match="as assisted decoding does; use carry='full'"):
        egru.generate(PROMPT, prompt_lookup_num_tokens=3, **OPTIONS)
    egru.config.carry = "full"


@torch.no_grad()
@pytest.mark.parametrize("variant", ["released", "paper"])
@pytest.mark.parametrize("cache_class", [DynamicCache, StaticCache])
@pytest.mark.parametrize("mask", [None, torch.tensor([[0, 1, 1, 0, 1, 1, 0, 1, 1], [1] * 9])])
def test_crop_takes_tokens_back(
    make_egru: Callable[..., Any], variant: str, cache_class: Any, mask: Any
) -> None:
    """After several calls, of several tokens and of one, for any number of tokens."""
    egru = make_egru(EgruModel, variant=variant, embedding_range=1.0, threshold_mean=0.2)
    ids = torch.randint(41, (2, 9), generator=torch.Generator().manual_seed(4))

    def read(cache: Any, first: int, last: int) -> None:
        part = None if mask is None else mask[:, :last]
        egru(ids[:, first:last], attention_mask=part, past_key_values=cache, use_cache=True)

    for kept in (0, 3, 4, 7):
        cache = make_cache(cache_class, egru.config)
        cache.activate_past_recording()
        for first, last in ((0, 4), (4, 5), (5, 9)):
            read(cache, first, last)
        cache.crop(kept - 9)
        assert int(cache.get_seq_length()) == kept
        want = DynamicCache(config=egru.config)
        if kept:
            read(want, 0, kept)
        for ours, theirs in zip(cache.layers, want.layers, strict=True):
            y, h = theirs.state() or (torch.zeros_like(ours.keys), torch.zeros_like(ours.values))
            torch.testing.assert_close((ours.keys, ours.values), (y, h))
        with pytest.raises(ValueError, match="crop can take back 0 tokens, got -1: call activate"):
            cache.crop(-1)


def test_crop_refuses_what_was_not_recorded(egru: Any) -> None:
    cache = egru(PROMPT, use_cache=True).past_key_values
    cache.crop(0)
    with pytest.raises(ValueError, match=r"crop can take back 0 tokens, got -2: .*deepcopy"):
        cache.crop(-2)
    with pytest.raises(ValueError, match="crop must get a negative number"):
        cache.crop(5)


@torch.no_grad()
@pytest.mark.parametrize("cache_class", [DynamicCache, StaticCache])
def test_rows_of_a_cache(egru: Any, batch: Any, cache_class: Any) -> None:
    """Reordered, repeated, selected, moved to the CPU and back; with recorded states too."""
    cache, ids = make_cache(cache_class, egru.config), batch["input_ids"]
    assert cache.batch_size == -1
    cache.early_initialization(3, 2, 4, torch.float32, "cpu")
    cache.activate_past_recording()
    egru(ids, past_key_values=cache)
    assert cache.batch_size == 3
    cache.reorder_cache(torch.tensor([2, 0, 1]))
    cache.batch_select_indices(torch.tensor([0, 2]))
    cache.batch_repeat_interleave(2)
    for layer in range(2):
        cache.layers[layer].offload()
    cache.crop(-3)
    rows = ids[[2, 2, 1, 1]]
    got = egru(rows[:, 4:], past_key_values=cache).logits
    torch.testing.assert_close(got, egru(rows).logits[:, 4:])
    assert cache.get_max_length() == -1
    assert cache.get_mask_sizes(2, 0) == (9, 0)


@torch.no_grad()
@pytest.mark.parametrize("cache_class", [DynamicCache, StaticCache])
def test_reset_changes_no_output(egru: Any, cache_class: Any) -> None:
    """The state may share memory with an output of the model."""
    cache = make_cache(cache_class, egru.config)
    out = egru(PROMPT, past_key_values=cache, output_hidden_states=True)
    before = [hidden.clone() for hidden in out.hidden_states]
    cache.reset()
    assert int(cache.get_seq_length()) == 0
    assert all(map(torch.equal, out.hidden_states, before))
    assert torch.equal(egru(PROMPT, past_key_values=cache).logits, egru(PROMPT).logits)


@torch.no_grad()
def test_a_static_cache_stays_where_it_is(egru: Any) -> None:
    cache = StaticCache(config=egru.config, max_cache_len=4)
    egru(PROMPT[:, :3], past_key_values=cache)
    places = [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in cache.layers]
    for index in range(3, 11):
        egru(PROMPT[:, index : index + 1], past_key_values=cache)
    assert places == [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in cache.layers]
    with pytest.raises(ValueError, match="past_key_values has the states of 1 texts"):
        egru(PROMPT.expand(2, -1), past_key_values=cache)


def test_no_deprecated_name_is_used(egru: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers 5.24 calls the cache `cache` instead of `past_key_values`."""
    from transformers.utils import generic

    words: list[str] = []
    monkeypatch.setattr(generic.logger, "warning_once", words.append)
    egru(PROMPT, labels=PROMPT)
    egru.generate(PROMPT, **OPTIONS)
    assert words == []


def test_an_empty_call_keeps_the_state(egru: Any) -> None:
    cache = DynamicCache(config=egru.config)
    cache.activate_past_recording()
    with torch.no_grad():
        egru(PROMPT, past_key_values=cache)
        before = [layer.keys.clone() for layer in cache.layers]
        egru(PROMPT[:, :0], past_key_values=cache)
    assert all(map(torch.equal, before, [layer.keys for layer in cache.layers]))


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 9])  # one token takes another way through the model
def test_a_cache_of_another_batch_is_named(egru: Any, steps: int) -> None:
    cache = DynamicCache(config=egru.config)
    egru(PROMPT.repeat(3, 1), past_key_values=cache)
    with pytest.raises(ValueError, match=r"past_key_values has the states of 3 texts, .* has 2"):
        egru(PROMPT[:, :steps].repeat(2, 1), past_key_values=cache)
    with pytest.raises(ValueError, match="states of 3 texts, but the call has 1"):
        egru(PROMPT[:, :steps], past_key_values=cache)


def test_what_is_no_cache_of_layers_is_named(make_egru: Callable[..., Any]) -> None:
    model, ids = make_egru(), torch.tensor([[1, 2]])
    for wrong in (((1, 2),), EncoderDecoderCache(DynamicCache(), DynamicCache())):
        with pytest.raises(ValueError, match=f"must be DynamicCache.*got a {type(wrong).__name__}"):
            model(ids, past_key_values=wrong)
