"""Texts packed into one row: each gives the same as alone, or the call is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from transformers import DataCollatorWithFlattening, DynamicCache

from evenfall_egru import (
    EgruForCausalLM,
    EgruForSequenceClassification,
    EgruModel,
    RnnConfig,
    RnnForCausalLM,
)

LENGTHS = (5, 1, 9, 3)
ENDS = [0, 5, 6, 15, 18]
pytestmark = pytest.mark.filterwarnings("ignore::evenfall.errors.BackendWarning")


def texts() -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(41, (n,), generator=generator).tolist() for n in LENGTHS]


def pack_texts(**options: Any) -> dict[str, Any]:
    """Pack the texts with DataCollatorWithFlattening."""
    return DataCollatorWithFlattening(**options)([{"input_ids": text} for text in texts()])


FORMS = {
    "positions": {},
    "positions from 2": {"position_ids_start": 2},
    "lengths": {"return_position_ids": False, "return_flash_attn_kwargs": True},
    "numbers": {"return_position_ids": False, "return_seq_idx": True},
    "all": {"return_flash_attn_kwargs": True, "return_seq_idx": True},
}


def make(make_egru: Callable[..., Any], model: type = EgruForCausalLM, **settings: Any) -> Any:
    return make_egru(model, embedding_range=1.0, **settings).double()


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", [EgruForCausalLM, EgruModel, EgruForSequenceClassification])
def test_each_text_gives_what_it_gives_alone(
    make_egru: Callable[..., Any], model: type, form: str
) -> None:
    egru = make(make_egru, model)
    inputs = pack_texts(**FORMS[form])
    del inputs["labels"]
    alone = [egru(torch.tensor([text]))[0] for text in texts()]
    if model is EgruForSequenceClassification:
        want = torch.cat(alone)
        assert want.shape == (4, 2)
    else:
        want = torch.cat(alone, 1)
    out = egru(**inputs)
    torch.testing.assert_close(out[0], want, rtol=0, atol=1e-12)
    assert out.past_key_values is None


@torch.no_grad()
def test_events_and_hidden_states_too(make_egru: Callable[..., Any]) -> None:
    egru, inputs = make(make_egru), pack_texts()
    out = egru(**inputs, output_events=True, output_hidden_states=True)
    alone = [
        egru(torch.tensor([text]), output_events=True, output_hidden_states=True)
        for text in texts()
    ]
    for index, events in enumerate(out.events):
        want = torch.cat([one.events[index] for one in alone], 1)
        assert torch.equal(events, want)
        torch.testing.assert_close(out.activity[index], want.mean(), check_dtype=False)
    for index, hidden in enumerate(out.hidden_states):
        torch.testing.assert_close(
            hidden, torch.cat([one.hidden_states[index] for one in alone], 1)
        )


@pytest.mark.parametrize("own_labels", [False, True])
@pytest.mark.parametrize("penalty", [0.0, 0.7])
def test_loss_and_gradients_are_those_of_the_texts_alone(
    make_egru: Callable[..., Any], own_labels: bool, penalty: float
) -> None:
    """Also if the first token of a text has a label: the previous text must not predict it."""
    egru = make(make_egru, activity_regularization=penalty).train()
    inputs = pack_texts()
    if own_labels:
        inputs["labels"] = inputs["input_ids"]
    items = sum(LENGTHS) - len(LENGTHS)
    weights = list(egru.parameters())
    loss = egru(**inputs, skip_logits=True, num_items_in_batch=items).loss
    got = torch.autograd.grad(loss, weights)
    egru.config.activity_regularization = 0.0
    total = 0.0
    for text in texts():
        ids = torch.tensor([text])
        out = egru(ids, labels=ids, skip_logits=True, num_items_in_batch=items, output_events=True)
        total = total + out.loss + penalty * sum(out.activity) * len(text) / sum(LENGTHS)
    torch.testing.assert_close(loss, total, rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(got, torch.autograd.grad(total, weights), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_loss_from_logits(make_egru: Callable[..., Any]) -> None:
    """transformers' own loss, in single precision."""
    egru, inputs = make(make_egru), pack_texts()
    want = sum(
        egru(torch.tensor([t]), labels=torch.tensor([t]), num_items_in_batch=14).loss
        for t in texts()
    )
    for labels in (inputs.pop("labels"), inputs["input_ids"]):
        torch.testing.assert_close(egru(**inputs, labels=labels).loss, want)


def test_classifier_loss_and_gradients(make_egru: Callable[..., Any]) -> None:
    egru = make(make_egru, EgruForSequenceClassification, num_labels=3)
    inputs = pack_texts()
    inputs["labels"] = torch.tensor([0, 2, 1, 2])
    weights = list(egru.parameters())
    loss = egru(**inputs).loss
    want = torch.stack(
        [
            egru(torch.tensor([text]), labels=label[None]).loss
            for text, label in zip(texts(), inputs["labels"], strict=True)
        ]
    ).mean()
    torch.testing.assert_close(loss, want, rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(
        torch.autograd.grad(loss, weights), torch.autograd.grad(want, weights), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["embedding_dropout", "hidden_dropout", "output_dropout"])
def test_locked_dropout_draws_a_mask_for_each_text(
    make_egru: Callable[..., Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evenfall_egru.models import modeling_egru

    ends, locked = [], modeling_egru.locked_dropout

    def record_ends(x: Any, rate: float, cu_seqlens: Any) -> Any:
        ends.append(cu_seqlens.tolist())
        return locked(x, rate, cu_seqlens)

    monkeypatch.setattr(modeling_egru, "locked_dropout", record_ends)
    make(make_egru, **{name: 0.5}).train()(**pack_texts())
    assert ends == [ENDS]


@torch.no_grad()
def test_gradient_checkpointing_keeps_texts_apart(make_egru: Callable[..., Any]) -> None:
    egru, inputs = make(make_egru).train(), pack_texts()
    want = egru(**inputs).logits
    egru.gradient_checkpointing_enable()
    torch.testing.assert_close(egru(**inputs).logits, want)


IDS = torch.arange(18)[None]
POSITIONS = pack_texts()["position_ids"]
SEQ_IDX = torch.arange(4).repeat_interleave(torch.tensor(LENGTHS))[None]
LENGTH_FORM = {"cu_seq_lens_q": torch.tensor(ENDS)}
REFUSED = [
    ({"position_ids": torch.tensor([[0, 1, 3, *range(4, 19)]])}, "position_ids must rise by 1"),
    ({"position_ids": torch.tensor([[*range(4, 13), *range(9)]])}, r"same number.*\[4, 0\]"),
    ({"position_ids": torch.zeros(1, 17)}, r"position_ids must have shape \(1, 18\), got \(1, 17"),
    ({"position_ids": torch.zeros(3, 1, 18)}, "position_ids must have shape"),
    ({"position_ids": POSITIONS, "use_cache": True}, "position_ids packs 4 texts.* cache"),
    ({"seq_idx": SEQ_IDX, "use_cache": True}, "seq_idx packs 4 texts.* cache: .* cu_seq_lens_q"),
    (
        {**LENGTH_FORM, "attention_mask": torch.tensor([[0] + [1] * 17])},
        "cu_seq_lens_q packs texts.*zeros in attention_mask",
    ),
    (
        {"position_ids": POSITIONS, "attention_mask": torch.tensor([[1] * 17 + [0]])},
        "position_ids must rise by 1 from one real token to the next",
    ),
    ({"cu_seq_lens_q": torch.tensor([0, 5, 17])}, r"must rise from 0 to 18.* got \[0, 5, 17\]"),
    ({"cu_seq_lens_q": torch.tensor([0, 5, 5, 18])}, "must rise from 0 to 18"),
    ({"cu_seq_lens_q": torch.tensor([1, 18])}, "must rise from 0 to 18"),
    ({"cu_seq_lens_q": torch.tensor([[0, 18]])}, "1-D integer tensor, got torch.int64 of shape"),
    ({"cu_seq_lens_q": torch.tensor([0.0, 18.0])}, "1-D integer tensor, got torch.float32"),
    ({"cu_seq_lens_k": torch.tensor(ENDS)}, "need cu_seq_lens_q"),
    ({"max_length_q": 9}, "need cu_seq_lens_q"),
    (
        {**LENGTH_FORM, "cu_seq_lens_k": torch.tensor([0, 18])},
        "cu_seq_lens_k must equal cu_seq_lens_q",
    ),
    ({**LENGTH_FORM, "max_length_k": 8}, "max_length_k must be at least 9.* got 8"),
    (
        {**LENGTH_FORM, "seq_idx": torch.zeros(1, 18, dtype=torch.int32)},
        r"disagree: texts end at \[5, 6, 15, 18\] and \[18\]",
    ),
    (
        {"position_ids": POSITIONS, "cu_seq_lens_q": torch.tensor([0, 9, 18])},
        "cu_seq_lens_q and position_ids disagree",
    ),
    ({"seq_idx": torch.zeros(1, 4)}, r"seq_idx must have shape \(1, 18\)"),
    ({"seq_idx": torch.tensor([[0] * 9 + [-1] * 9])}, "seq_idx must not be negative"),
]


@pytest.mark.parametrize(("inputs", "words"), REFUSED)
@pytest.mark.parametrize("model", [EgruForCausalLM, EgruModel, EgruForSequenceClassification])
def test_impossible_packing_is_refused(
    make_egru: Callable[..., Any], model: type, inputs: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        make_egru(model)(IDS, **inputs)


@pytest.mark.parametrize("name", ["position_ids", "cu_seq_lens_q", "cu_seq_lens_k", "seq_idx"])
def test_packing_arguments_must_be_tensors(make_egru: Callable[..., Any], name: str) -> None:
    inputs = {"cu_seq_lens_q": torch.tensor(ENDS), name: ENDS}
    with pytest.raises(TypeError, match=f"{name} must be a Tensor, got list"):
        make_egru()(IDS, **inputs)


@pytest.mark.parametrize("model", [EgruForCausalLM, EgruModel, EgruForSequenceClassification])
def test_a_mask_of_text_numbers_is_refused(make_egru: Callable[..., Any], model: type) -> None:
    """As some packers write it; read as a plain mask, the texts would leak into one another."""
    mask = torch.tensor([[1] * 5 + [2] * 13])
    words = "attention_mask must contain 0 .padding. and 1 only, got 2; .* position_ids"
    with pytest.raises(ValueError, match=words):
        make_egru(model)(IDS, attention_mask=mask)
    with pytest.raises(ValueError, match="1 only, got -1"):
        make_egru(model)(IDS, attention_mask=-torch.ones_like(IDS))
    egru = make_egru(model)
    for ones in (torch.ones_like(IDS).bool(), torch.ones_like(IDS).float()):
        assert torch.equal(egru(IDS, attention_mask=ones)[0], egru(IDS)[0])


@pytest.mark.parametrize(
    "inputs",
    [
        {"position_ids": torch.tensor([[0, 1, 2, 0, 1]])},
        {"position_ids": torch.tensor([[0, 1, 2, 3, 4], [0, 1, 0, 1, 2]])},
        {"seq_idx": torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]])},
        {"cu_seq_lens_q": torch.tensor([0, 3, 5])},
    ],
)
def test_rows_of_a_batch_are_not_cut(make_egru: Callable[..., Any], inputs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="packs texts, which needs batch size 1, got 2"):
        make_egru()(torch.ones(2, 5, dtype=torch.long), **inputs)


def test_a_given_cache_must_have_a_row_for_each_text(make_egru: Callable[..., Any]) -> None:
    egru = make_egru()
    for name in ("past_key_values", "cache"):
        with pytest.raises(ValueError, match="cannot be combined with a cache"):
            egru(IDS, **{name: DynamicCache(config=egru.config)}, position_ids=POSITIONS)
        cache = egru(IDS.expand(3, -1), use_cache=True).past_key_values
        with pytest.raises(ValueError, match="has the states of 3 texts, but the call has 4"):
            egru(IDS, **{name: cache}, **LENGTH_FORM)
    cache = DynamicCache(config=egru.config)
    cache.activate_past_recording()
    with pytest.raises(ValueError, match="whose tokens cannot be taken back"):
        egru(IDS, past_key_values=cache, **LENGTH_FORM)


@pytest.mark.parametrize("model", ["egru", "lstm"])
def test_each_text_continues_from_its_own_state(make_egru: Callable[..., Any], model: str) -> None:
    """Windows of packed texts, and then one token of each text at a time; gradients too."""
    if model == "egru":
        net = make(make_egru, threshold_mean=0.2)
    else:
        net = RnnForCausalLM(RnnConfig(vocab_size=41, embedding_size=12, hidden_sizes=[20, 12]))
        net = net.eval()
    rows = [torch.randint(41, (length,)) for length in (7, 5, 9)]
    cache, pieces = None, []
    for first, last in (([0, 0, 0], [3, 1, 4]), ([3, 1, 4], [6, 4, 8])):
        parts = [row[a:b] for row, a, b in zip(rows, first, last, strict=True)]
        ends = torch.tensor([0, *(len(part) for part in parts)]).cumsum(0)
        inputs = {"use_cache": True} if cache is None else {"past_key_values": cache}
        out = net(torch.cat(parts)[None], cu_seq_lens_q=ends, **inputs)
        cache = out.past_key_values
        pieces.append(out.logits[0].split(ends.diff().tolist()))
    assert cache.get_seq_length() == 8
    last = torch.stack([row[-1:] for row in rows])
    pieces.append(net(last, past_key_values=cache).logits)
    for index, row in enumerate(rows):
        got = torch.cat([piece[index] for piece in pieces])
        want = net(row[None]).logits[0]
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
        weight = net.get_input_embeddings().weight
        gradients = [
            torch.autograd.grad(logits.cos().sum(), weight, retain_graph=True)[0]
            for logits in (got, want)
        ]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


LEFT = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
HOLE = torch.tensor([[1, 0, 0, 1, 1], [1, 1, 1, 1, 0]])


@torch.no_grad()
@pytest.mark.parametrize(
    ("mask", "positions"),
    [
        (None, [[0, 1, 2, 3, 4]]),
        (None, [0, 1, 2, 3, 4]),
        (None, [[7, 8, 9, 10, 11], [3, 4, 5, 6, 7]]),
        (LEFT, [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4]]),
        (LEFT, [[1, 1, 0, 1, 2], [0, 1, 2, 3, 4]]),
        (LEFT, [[0, 1, 2, 3, 4]]),
        (HOLE, [[0, 0, 0, 1, 2], [0, 1, 2, 3, 3]]),
        (HOLE, [[0, 1, 2, 3, 4]]),
        (LEFT.new_ones(2, 5), [[0, 1, 2, 3, 4]]),
    ],
)
def test_positions_that_only_count_change_nothing(
    make_egru: Callable[..., Any], ids: torch.Tensor, mask: Any, positions: Any
) -> None:
    egru, ids = make_egru(), ids[:2, :5]
    got = egru(ids, attention_mask=mask, position_ids=torch.tensor(positions))
    assert torch.equal(got.logits, egru(ids, attention_mask=mask).logits)
    assert got.past_key_values is not None


@torch.no_grad()
def test_one_row_padded_on_the_left(make_egru: Callable[..., Any], ids: torch.Tensor) -> None:
    """generate() passes [[0, 0, 0, 1, 2]] here: the zeros are not texts."""
    egru, ids = make_egru(), ids[:1, :5]
    mask, positions = LEFT[:1], torch.tensor([[0, 0, 0, 1, 2]])
    got = egru(ids, attention_mask=mask, position_ids=positions, use_cache=True)
    assert torch.equal(got.logits, egru(ids, attention_mask=mask).logits)
    torch.testing.assert_close(got.logits[:, 2:], egru(ids[:, 2:]).logits)


@torch.no_grad()
def test_a_mask_of_ones_changes_nothing(make_egru: Callable[..., Any]) -> None:
    egru, inputs = make_egru(), pack_texts()
    got = egru(**inputs, attention_mask=torch.ones(1, 18)).logits
    assert torch.equal(got, egru(**inputs).logits)


@torch.no_grad()
def test_one_text_is_no_packing(make_egru: Callable[..., Any], ids: torch.Tensor) -> None:
    egru, ids = make_egru(), ids[:1]
    got = egru(ids, cu_seq_lens_q=torch.tensor([0, 17]), use_cache=True)
    assert torch.equal(got.logits, egru(ids).logits)
    assert got.past_key_values.get_seq_length() == 17
