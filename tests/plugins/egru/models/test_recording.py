"""Graphs recorded by torch.jit.trace, torch.export and ONNX are valid for other data."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from evenfall_egru import EgruForCausalLM, EgruForSequenceClassification, EgruModel

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
    with pytest.raises(ValueError, match=words):
        torch.export.export(packed, (random_ids(1),), strict=False)


def test_a_mask_with_a_cache_is_refused(make_egru: Callable[..., Any]) -> None:
    class Cached(First):
        def forward(self, ids: Any, mask: Any) -> Any:
            return self.model(ids, attention_mask=mask, use_cache=True)[0]

    with pytest.raises(ValueError, match="attention_mask and a cache cannot be recorded together"):
        torch.jit.trace(Cached(make_egru()), (random_ids(), ONES), check_trace=False)
