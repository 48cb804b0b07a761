"""torch.compile(fullgraph=True): one graph with a mask, a cache, packed texts, a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch._dynamo.testing import CompileCounterWithBackend
from transformers import CompileConfig, DynamicCache, StaticCache

from evenfall_egru import EgruForSequenceClassification

MASK = torch.tensor([[0, 0, 1, 1, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 1, 1, 1, 1]])
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def egru(make_egru: Callable[..., Any]) -> Any:
    return make_egru(hidden_sizes=[12], embedding_range=1.0, threshold_mean=0.2)


def compile_once(model: Any, backend: str = "eager") -> tuple[Any, Any]:
    """The compiled model, and a counter of graphs."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend(backend)
    return torch.compile(model, fullgraph=True, backend=counter), counter


def random_ids(batch: int, steps: int) -> torch.Tensor:
    return torch.randint(41, (batch, steps), generator=torch.Generator().manual_seed(steps))


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
def test_a_compiled_model_takes_any_length(egru: Any, masked: bool) -> None:
    compiled, counter = compile_once(egru)
    for steps in (5, 6, 9):
        ids, mask = random_ids(2, steps), MASK[:, :steps] if masked else None
        got, want = compiled(ids, attention_mask=mask), egru(ids, attention_mask=mask)
        torch.testing.assert_close(got.logits, want.logits)
        for ours, theirs in zip(
            got.past_key_values.layers, want.past_key_values.layers, strict=True
        ):
            torch.testing.assert_close((ours.keys, ours.values), (theirs.keys, theirs.values))
    assert counter.frame_count <= 3


@torch.no_grad()
@pytest.mark.parametrize("cache_class", [DynamicCache, StaticCache])
@pytest.mark.parametrize("masked", [False, True])
def test_a_compiled_model_continues_a_cache(egru: Any, cache_class: Any, masked: bool) -> None:
    """Also where a single token is padding, which keeps the state."""
    compiled, counter = compile_once(egru)
    ids, mask = random_ids(2, 9), MASK
    options = {"config": egru.config}
    size = {"max_cache_len": 9} if cache_class is StaticCache else {}
    ours, theirs = cache_class(**options, **size), DynamicCache(**options)
    for first, last in ((0, 3), *((t, t + 1) for t in range(3, 7))):
        inputs = {"attention_mask": mask[:, :last]} if masked else {}
        got = compiled(ids[:, first:last], past_key_values=ours, use_cache=True, **inputs)
        want = egru(ids[:, first:last], past_key_values=theirs, use_cache=True, **inputs)
        torch.testing.assert_close(got.logits, want.logits)
    for one, other in zip(ours.layers, theirs.layers, strict=True):
        torch.testing.assert_close((one.keys, one.values), (other.keys, other.values))
    assert counter.frame_count <= (3 if cache_class is StaticCache else 4)


@torch.no_grad()
def test_generate_compiles_with_a_static_cache(egru: Any) -> None:
    ids, mask = random_ids(2, 5), MASK[:, :5]
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, "attention_mask": mask}
    torch._dynamo.reset()
    config = CompileConfig(fullgraph=True, backend="eager", mode=None)
    config._compile_all_devices = True
    got = egru.generate(ids, cache_implementation="static", compile_config=config, **options)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert torch.equal(got, egru.generate(ids, **options))


@pytest.mark.parametrize("skip_logits", [False, True])
def test_training_compiles(egru: Any, skip_logits: bool) -> None:
    egru.config.activity_regularization = 0.5
    compiled, _ = compile_once(egru.train(), "aot_eager")
    ids, weights = random_ids(2, 9), list(egru.parameters())
    labels = ids.masked_fill(MASK == 0, -100)
    results = []
    for model in (compiled, egru):
        inputs = {"attention_mask": MASK, "labels": labels, "use_cache": False}
        loss = model(ids, skip_logits=skip_logits, **inputs).loss
        results.append((loss, torch.autograd.grad(loss, weights)))
    torch.testing.assert_close(*results)


def test_packed_texts_compile(egru: Any) -> None:
    """cu_seq_lens_q goes into the graph, which holds for other texts."""
    compiled, counter = compile_once(egru.train(), "aot_eager")
    weights = list(egru.parameters())
    for ends in ([0, 3, 9], [0, 2, 5, 9], [0, 1, 4, 6, 11]):
        ids, texts = random_ids(1, ends[-1]), torch.tensor(ends, dtype=torch.int32)
        inputs = {"labels": ids, "cu_seq_lens_q": texts, "cu_seq_lens_k": texts}
        results = []
        for model in (compiled, egru):
            loss = model(ids, use_cache=False, **inputs).loss
            results.append((loss, torch.autograd.grad(loss, weights)))
        torch.testing.assert_close(*results)
    assert counter.frame_count <= 3


@torch.no_grad()
def test_locked_dropout_of_packed_texts_compiles(egru: Any) -> None:
    egru.config.embedding_dropout = 0.5
    compiled, _ = compile_once(egru.train())
    texts = torch.tensor([0, 4, 9])
    assert bool(
        compiled(random_ids(1, 9), cu_seq_lens_q=texts, use_cache=False)[0].isfinite().all()
    )


def test_a_packed_classifier_compiles(make_egru: Callable[..., Any]) -> None:
    model = make_egru(EgruForSequenceClassification, hidden_sizes=[12])
    compiled, _ = compile_once(model)
    ids, texts = random_ids(1, 9), torch.tensor([0, 4, 9])
    got = compiled(ids, cu_seq_lens_q=texts, use_cache=False).logits
    torch.testing.assert_close(got, model(ids, cu_seq_lens_q=texts).logits)


@torch.no_grad()
@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"attention_mask": torch.tensor([[1] * 5 + [2] * 4])}, "must contain 0 .* and 1 only"),
        ({"cu_seq_lens_q": torch.tensor([0, 5, 5, 9])}, "must rise from 0 to the number of tokens"),
        ({"cu_seq_lens_q": torch.tensor([0, 5, 8])}, "must rise from 0 to the number of tokens"),
        (
            {"cu_seq_lens_q": torch.tensor([0, 5, 9]), "attention_mask": MASK[:1]},
            "cannot be combined with zeros",
        ),
        (
            {"cu_seq_lens_q": torch.tensor([0, 5, 9]), "cu_seq_lens_k": torch.tensor([0, 4, 9])},
            "cu_seq_lens_k must equal cu_seq_lens_q",
        ),
    ],
)
def test_a_compiled_graph_checks_values(egru: Any, inputs: dict[str, Any], words: str) -> None:
    compiled, _ = compile_once(egru)
    with pytest.raises(RuntimeError, match=words):
        compiled(random_ids(1, 9), use_cache=False, **inputs)


@torch.no_grad()
def test_positions_of_packed_texts_compile_with_a_break(egru: Any) -> None:
    """Their values say where a text begins."""
    torch._dynamo.reset()
    compiled = torch.compile(egru, backend="eager")
    for positions in ([0, 1, 2, 0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6, 0, 1]):
        inputs = {"position_ids": torch.tensor([positions])}
        got = compiled(random_ids(1, 9), **inputs).logits
        torch.testing.assert_close(got, egru(random_ids(1, 9), **inputs).logits)
