"""Graphs recorded by torch.jit.trace, torch.export and ONNX are valid for other data."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from transformers import DynamicCache

from evenfall_egru import (
    EgruForCausalLM,
    EgruForSequenceClassification,
    EgruModel,
    RnnConfig,
    RnnForCausalLM,
)

MODELS = [EgruForCausalLM, EgruModel, EgruForSequenceClassification]
ONES = torch.ones(3, 5, dtype=torch.long)
LEFT = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]])
RIGHT = LEFT.flip(1)
HOLES = torch.tensor([[1, 0, 1, 0, 1], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
pytestmark = pytest.mark.filterwarnings("ignore")


class First(torch.nn.Module):
    """The first output of a model, or its events if `output_events`."""

    def __init__(self, model: Any, output_events: bool = False) -> None:
        super().__init__()
        self.model, self.output_events = model, output_events

    def forward(self, ids: Any, mask: Any = None) -> Any:
        if not self.output_events:
            return self.model(ids, attention_mask=mask)[0]
        out = self.model(ids, attention_mask=mask, output_events=True)
        return out.events[0], torch.stack(out.activity)


def make(make_egru: Callable[..., Any], model: type, **settings: Any) -> First:
    return First(make_egru(model, embedding_range=1.0, threshold_mean=0.2, **settings))


def random_ids(batch: int = 3, steps: int = 5, seed: int = 4) -> torch.Tensor:
    return torch.randint(41, (batch, steps), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
@pytest.mark.parametrize("recorded_mask", [ONES, LEFT], ids=["ones", "padded"])
@pytest.mark.parametrize("model", MODELS)
def test_trace_holds_for_another_mask(
    make_egru: Callable[..., Any], model: type, recorded_mask: torch.Tensor
) -> None:
    first = make(make_egru, model)
    traced = torch.jit.trace(first, (random_ids(), recorded_mask), check_trace=False)
    for seed, mask in enumerate((ONES, LEFT, RIGHT, HOLES)):
        ids = random_ids(seed=seed)
        torch.testing.assert_close(traced(ids, mask), first(ids, mask))


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("model", MODELS)
def test_trace_holds_for_another_batch(
    make_egru: Callable[..., Any], model: type, batch: int
) -> None:
    first = make(make_egru, model)
    plain = torch.jit.trace(first, (random_ids(batch),), check_trace=False)
    masked = torch.jit.trace(first, (random_ids(batch), LEFT[:batch]), check_trace=False)
    for size in (1, 2, 3):
        ids = random_ids(size, seed=size)
        torch.testing.assert_close(plain(ids), first(ids))
        torch.testing.assert_close(masked(ids, HOLES[:size]), first(ids, HOLES[:size]))


@torch.no_grad()
def test_trace_of_another_length_is_an_error(make_egru: Callable[..., Any]) -> None:
    """The steps are unrolled: a graph is only valid for the recorded length."""
    traced = torch.jit.trace(make(make_egru, EgruForCausalLM), (random_ids(),), check_trace=False)
    for steps in (3, 4, 6, 10):
        with pytest.raises(RuntimeError):
            traced(random_ids(steps=steps))


@torch.no_grad()
def test_trace_pads_by_token_where_there_is_no_mask(make_egru: Callable[..., Any]) -> None:
    first = make(make_egru, EgruForSequenceClassification, pad_token_id=7)
    traced = torch.jit.trace(first, (random_ids(),), check_trace=False)
    for mask in (LEFT, RIGHT, ONES):
        ids = torch.where(mask == 1, 5, 7)
        torch.testing.assert_close(traced(ids), first(ids))


@torch.no_grad()
def test_traced_events_and_activity(make_egru: Callable[..., Any]) -> None:
    first = make(make_egru, EgruForCausalLM)
    first.output_events = True
    traced = torch.jit.trace(first, (random_ids(), ONES), check_trace=False)
    for ours, theirs in zip(traced(random_ids(), HOLES), first(random_ids(), HOLES), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_export_holds_for_another_mask(
    make_egru: Callable[..., Any], model: type, strict: bool
) -> None:
    first = make(make_egru, model)
    with torch.no_grad():
        program = torch.export.export(first, (random_ids(), ONES), strict=strict).module()
        for mask in (ONES, LEFT, RIGHT, HOLES):
            torch.testing.assert_close(
                program(random_ids(seed=9), mask), first(random_ids(seed=9), mask)
            )


@torch.no_grad()
def test_a_single_token_is_exported(make_egru: Callable[..., Any]) -> None:
    first = make(make_egru, EgruForCausalLM)
    program = torch.export.export(first, (random_ids(1, 1),), strict=False).module()
    torch.testing.assert_close(program(random_ids(1, 1, 8)), first(random_ids(1, 1, 8)))


@torch.no_grad()
@pytest.mark.parametrize(
    ("model", "dynamo"), [*((model, False) for model in MODELS), (EgruForCausalLM, True)]
)
def test_onnx_file_gives_the_same(make_egru: Callable[..., Any], model: type, dynamo: bool) -> None:
    """For a padded batch, and for one token, where eager mode uses event-driven products."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    first = make(make_egru, model)
    for inputs in ((random_ids(), ONES), (random_ids(1, 1),)):
        file = io.BytesIO()
        torch.onnx.export(first, inputs, file, dynamo=dynamo, external_data=False)
        session = runtime.InferenceSession(file.getvalue())
        names = [one.name for one in session.get_inputs()]
        for mask in (ONES, LEFT, HOLES) if len(inputs) == 2 else (None,):
            ids = random_ids(*inputs[0].shape, seed=9)
            values = [t.numpy() for t in (ids, mask) if t is not None]
            (got,) = session.run(None, dict(zip(names, values, strict=True)))
            torch.testing.assert_close(torch.tensor(got), first(ids, mask))


@pytest.mark.parametrize(
    "inputs",
    [
        {"position_ids": torch.arange(5)[None]},
        {"cu_seq_lens_q": torch.tensor([0, 2, 5])},
        {"seq_idx": torch.tensor([[0, 0, 1, 1, 1]])},
    ],
)
def test_what_depends_on_the_data_is_refused(
    make_egru: Callable[..., Any], inputs: dict[str, Any]
) -> None:
    class Packed(First):
        def forward(self, ids: Any) -> Any:
            return self.model(ids, **inputs)[0]

    packed = Packed(make_egru())
    words = f"{next(iter(inputs))} must be None under torch.jit.trace"
    with pytest.raises(ValueError, match=words):
        torch.jit.trace(packed, (random_ids(1),), check_trace=False)
    if "cu_seq_lens_q" not in inputs:
        with pytest.raises(ValueError, match=words):
            torch.export.export(packed, (random_ids(1),), strict=False)


@torch.no_grad()
@pytest.mark.parametrize("strict", [False, True])
def test_export_holds_for_any_batch_and_length(make_egru: Callable[..., Any], strict: bool) -> None:
    first = make(make_egru, EgruForCausalLM)
    sizes = {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("time", max=512)}
    inputs, masked = (random_ids(),), (random_ids(), LEFT)
    plain = torch.export.export(first, inputs, dynamic_shapes=(sizes,), strict=strict).module()
    shapes = (sizes, sizes)
    padded = torch.export.export(first, masked, dynamic_shapes=shapes, strict=strict).module()
    for batch, steps in ((3, 5), (2, 11), (5, 3), (1, 1), (1, 9), (4, 1)):
        ids, mask = random_ids(batch, steps), torch.ones(batch, steps, dtype=torch.long)
        mask[0, : steps // 2] = 0
        torch.testing.assert_close(plain(ids), first(ids))
        torch.testing.assert_close(padded(ids, mask), first(ids, mask))


@torch.no_grad()
def test_export_holds_for_any_packed_texts(make_egru: Callable[..., Any]) -> None:
    class Packed(First):
        def forward(self, ids: Any, texts: Any) -> Any:
            return self.model(ids, cu_seq_lens_q=texts)[0]

    packed = Packed(make_egru())
    sizes = {1: torch.export.Dim("time", min=3)}, {0: torch.export.Dim("texts", min=3)}
    inputs = random_ids(1, 9), torch.tensor([0, 3, 5, 9])
    program = torch.export.export(packed, inputs, dynamic_shapes=sizes, strict=False).module()
    for ends in ([0, 3, 5, 9], [0, 1, 12], [0, 1, 2, 3, 7]):
        ids, texts = random_ids(1, ends[-1]), torch.tensor(ends)
        torch.testing.assert_close(program(ids, texts), packed(ids, texts))


class Continue(torch.nn.Module):
    """Tokens, their mask and a state -> logits and the new state."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Any, mask: Any, *states: Any) -> Any:
        cache = DynamicCache(config=self.model.config)
        for layer, y, h in zip(cache.layers, states[::2], states[1::2], strict=True):
            layer.update(y, h)
        out = self.model(ids, attention_mask=mask, past_key_values=cache, use_cache=True)
        return out.logits, *(part for layer in cache.layers for part in (layer.keys, layer.values))


def random_states(batch: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(batch)
    return [torch.rand(batch, units, generator=generator) for units in (20, 20, 12, 12)]


@torch.no_grad()
def test_export_continues_a_state(make_egru: Callable[..., Any]) -> None:
    """A row may end in padding, or be padding alone."""
    model = Continue(make_egru(embedding_range=1.0, threshold_mean=0.2))
    batch, time = torch.export.Dim("batch"), torch.export.Dim("time")
    sizes = ({0: batch, 1: time}, {0: batch, 1: time}, ({0: batch},) * 4)
    inputs = random_ids(), LEFT, *random_states(3)
    program = torch.export.export(model, inputs, dynamic_shapes=sizes, strict=False).module()
    for mask in (LEFT, RIGHT, HOLES, torch.tensor([[0, 0], [1, 0]])):
        inputs = random_ids(*mask.shape), mask, *random_states(len(mask))
        torch.testing.assert_close(program(*inputs), model(*inputs))


@torch.no_grad()
@pytest.mark.parametrize("dynamo", [False, True])
def test_onnx_file_continues_a_state(make_egru: Callable[..., Any], dynamo: bool) -> None:
    """A file for one token, called again and again, writes what the model writes."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = Continue(make_egru(embedding_range=1.0, threshold_mean=0.2))
    file, one = io.BytesIO(), torch.ones(1, 1, dtype=torch.long)
    inputs = random_ids(1, 1), one, *random_states(1)
    torch.onnx.export(model, inputs, file, dynamo=dynamo, external_data=False)
    session = runtime.InferenceSession(file.getvalue())
    names = [each.name for each in session.get_inputs()]
    states = [torch.zeros(1, units) for units in (20, 20, 12, 12)]
    ids, logits = random_ids(1, 6), []
    for t in range(6):
        values = [part.numpy() for part in (ids[:, t : t + 1], one, *states)]
        out = session.run(None, dict(zip(names, values[: len(names)], strict=True)))
        logits.append(torch.tensor(out[0]))
        states = [torch.tensor(part) for part in out[1:]]
    torch.testing.assert_close(torch.cat(logits, 1), model.model(ids).logits)


@torch.no_grad()
def test_onnx_file_of_another_length_is_an_error(make_egru: Callable[..., Any]) -> None:
    runtime = pytest.importorskip("onnxruntime")
    first, file = make(make_egru, EgruForCausalLM), io.BytesIO()
    names, axes = ["ids"], {"ids": {0: "batch", 1: "time"}}
    options = {"input_names": names, "dynamic_axes": axes, "dynamo": False}
    torch.onnx.export(first, (random_ids(),), file, **options)
    session = runtime.InferenceSession(file.getvalue())
    torch.testing.assert_close(
        torch.tensor(session.run(None, {"ids": random_ids(2).numpy()})[0]), first(random_ids(2))
    )
    for steps in (4, 6):
        with pytest.raises(runtime.capi.onnxruntime_pybind11_state.Fail):
            session.run(None, {"ids": random_ids(3, steps).numpy()})


def test_a_mask_with_a_baselines_cache_is_refused() -> None:
    model = RnnForCausalLM(RnnConfig(vocab_size=41, embedding_size=12, hidden_sizes=[20, 12]))
    with pytest.raises(ValueError, match="a graph with a mask needs use_cache=False"):
        torch.export.export(Continue(model), (random_ids(), ONES, *random_states(3)), strict=False)
