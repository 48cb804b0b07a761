"""The battery for recurrent models finds each kind of fault that is put into EGRU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from evenfall.testing.recurrent import RecurrentModelBattery
from evenfall_egru import EgruConfig, EgruForCausalLM, EgruForSequenceClassification, EgruModel
from evenfall_egru.models import layer_egru, modeling_egru, step_egru
from evenfall_egru.models.cache_egru import EgruCacheLayer
from evenfall_egru.models.layer_egru import EgruDecoder, EgruLayer

Patch = pytest.MonkeyPatch


class Battery(RecurrentModelBattery):
    def make_model(self) -> Any:
        torch.manual_seed(0)
        return EgruForCausalLM(self.config()).eval()

    def make_classifier(self) -> Any:
        torch.manual_seed(0)
        return EgruForSequenceClassification(self.config()).eval()

    def config(self) -> EgruConfig:
        return EgruConfig(
            vocab_size=41, embedding_size=12, hidden_sizes=[20, 12], embedding_range=1.0
        )


def wrap(owner: Any, name: str, change: Callable[..., Any]) -> Callable[[Patch], None]:
    """A fault: `change(original, *args, **kwargs)` replaces a method or function."""

    def install(patch: Patch) -> None:
        original = getattr(owner, name)

        def changed(*args: Any, **kwargs: Any) -> Any:
            return change(original, *args, **kwargs)

        patch.setattr(owner, name, changed)

    return install


def drop(owner: Any, name: str, *keywords: str) -> Callable[[Patch], None]:
    """A fault: these keywords are ignored."""

    def change(original: Any, *args: Any, **kwargs: Any) -> Any:
        return original(*args, **{k: v for k, v in kwargs.items() if k not in keywords})

    return wrap(owner, name, change)


def forget_state(
    original: Any, x: Any, *weights: Any, initial_state: Any = None, **options: Any
) -> Any:
    out = original(x.reshape(-1, 1, x.shape[-1]), *weights, **options)
    y = out.y.reshape(*x.shape[:2], -1)
    return out._replace(y=y, state=(y[:, -1], y[:, -1]))


def forget_token_state(original: Any, stack: Any, ids: Any, states: Any) -> Any:
    return original(stack, ids, [(torch.zeros_like(y), torch.zeros_like(h)) for y, h in states])


def scale_embeddings(original: Any, self: Any, ids: Any, embeds: Any) -> Any:
    return original(self, ids, embeds) * (1.0 if embeds is None else 1.01)


def drop_hidden_state(original: Any, *args: Any, **kwargs: Any) -> Any:
    out = original(*args, **kwargs)
    out.hidden_states = out.hidden_states and out.hidden_states[1:]
    return out


def reuse_first(original: Any, self: Any) -> Any:
    if not hasattr(self, "_first"):
        self._first = original(self).clone()
    return self._first


def drop_state(original: Any, self: Any, x: Any, state: Any, *rest: Any) -> Any:
    return original(self, x, None if self.gradient_checkpointing else state, *rest)


def change_if_compiling(original: Any, self: Any, x: Any, *rest: Any) -> Any:
    return original(self, x * 1.1 if torch.compiler.is_compiling() else x, *rest)


def cast_logits(original: Any, self: Any, y: Any) -> Any:
    return original(self, y).float()


def change_bias(original: Any, *args: Any, **kwargs: Any) -> Any:
    model, info = original(*args, **kwargs)
    model.model.layers[0].bias.data += 0.01
    return model, info


def reset_count_only(original: Any, self: Any) -> None:
    self.cumulative_length = 0


def cut_gradient(original: Any, self: Any) -> Any:
    state = original(self)
    return state and (state[0].detach(), state[1].detach())


FAULTS = [
    ("test_past_matters", (), wrap(layer_egru, "egru_scan", forget_state)),
    ("test_pieces_equal_full_forward", (1,), wrap(EgruCacheLayer, "state", lambda o, s: None)),
    (
        "test_unequal_pieces_equal_full_forward",
        (),
        wrap(EgruCacheLayer, "state", lambda o, s: None),
    ),
    ("test_cache_counts_tokens", (), drop(EgruCacheLayer, "update", "steps")),
    ("test_use_cache_false_returns_no_cache", (), drop(EgruForCausalLM, "forward", "use_cache")),
    ("test_reset_cache_is_as_new", (), wrap(EgruCacheLayer, "reset", reset_count_only)),
    (
        "test_reordered_cache_follows_the_beams",
        (),
        wrap(EgruCacheLayer, "reorder_cache", lambda o, s, i: None),
    ),
    (
        "test_repeated_and_selected_cache",
        (1,),
        wrap(EgruCacheLayer, "batch_select_indices", lambda o, s, i: o(s, i - 1)),
    ),
    *(
        (test, arguments, wrap(modeling_egru, "layout_of", lambda o, mask, *a: o(None, *a)))
        for test, arguments in (
            ("test_padded_equals_unpadded", ("left", 1)),
            ("test_padded_batch_continues", ("right",)),
            ("test_padded_loss_and_gradient", ("left",)),
            ("test_classifier_ignores_padding", ("left",)),
            ("test_padded_batch_generates_as_each_alone", ("greedy",)),
        )
    ),
    (
        "test_generates_the_same_with_and_without_cache",
        ("beam",),
        wrap(EgruCacheLayer, "reorder_cache", lambda o, s, i: None),
    ),
    (
        "test_generated_logits_are_those_of_the_full_forward",
        (),
        wrap(step_egru, "egru_step", forget_token_state),
    ),
    ("test_prefill_in_chunks", (4,), wrap(EgruCacheLayer, "state", lambda o, s: None)),
    ("test_saved_and_loaded", "path", wrap(EgruForCausalLM, "from_pretrained", change_bias)),
    (
        "test_tied_weights_share_storage",
        (),
        lambda patch: patch.setattr(EgruForCausalLM, "_tied_weights_keys", {}),
    ),
    (
        "test_deepcopy_is_equal_and_apart",
        (),
        lambda patch: patch.setattr(
            EgruForCausalLM, "__deepcopy__", lambda self, memo: self, raising=False
        ),
    ),
    ("test_changed_weights_are_seen_by_decoding", (), wrap(EgruDecoder, "by_unit", reuse_first)),
    (
        "test_resized_vocabulary",
        (),
        wrap(EgruForCausalLM, "resize_token_embeddings", lambda o, s, n, **k: o(s, n + 1, **k)),
    ),
    (
        "test_every_parameter_has_a_finite_gradient",
        (),
        wrap(layer_egru, "egru_scan", lambda o, x, *w, **k: o(x, *w[:-1], w[-1].detach(), **k)),
    ),
    (
        "test_loss_is_the_cross_entropy_of_the_next_token",
        (),
        wrap(EgruForCausalLM, "forward", lambda o, s, i, labels=None, **k: o(
            s, i, labels=labels, shift_labels=labels, **k)),
    ),
    (
        "test_num_items_in_batch_scales_the_loss",
        (True,),
        drop(EgruForCausalLM, "forward", "num_items_in_batch"),
    ),
    (
        "test_shifted_labels_are_taken_as_they_are",
        (),
        drop(EgruForCausalLM, "forward", "shift_labels"),
    ),
    (
        "test_gradient_checkpointing_changes_nothing",
        (),
        wrap(layer_egru.EgruLayer, "forward", drop_state),
    ),
    (
        "test_gradient_flows_through_the_cache",
        (),
        wrap(EgruCacheLayer, "state", cut_gradient),
    ),
    ("test_logits_to_keep", (3,), drop(EgruForCausalLM, "forward", "logits_to_keep")),
    ("test_tuple_without_return_dict", (), drop(EgruForCausalLM, "forward", "return_dict")),
    ("test_hidden_states", (), wrap(EgruModel, "forward", drop_hidden_state)),
    ("test_embeddings_instead_of_ids", (), wrap(EgruModel, "_embed", scale_embeddings)),
    ("test_generates_from_embeddings", (), wrap(EgruModel, "_embed", lambda o, s, i, e: o(
        s, i, None if e is None else -e))),
    ("test_bfloat16", (), wrap(EgruForCausalLM, "_logits", cast_logits)),
    ("test_compiled_equals_eager", (), wrap(EgruLayer, "forward", change_if_compiling)),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("test", "arguments", "fault"), FAULTS, ids=[f[0] for f in FAULTS])
def test_fault_is_found(
    test: str, arguments: Any, fault: Callable[[Patch], None], monkeypatch: Patch, tmp_path: Any
) -> None:
    arguments = (tmp_path,) if arguments == "path" else arguments
    getattr(Battery(), test)(*arguments)
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        getattr(Battery(), test)(*arguments)


def test_what_is_opted_out_is_skipped_with_the_reason(tmp_path: Any) -> None:
    """In a separate pytest run."""
    (tmp_path / "test_mine.py").write_text(
        "from evenfall.testing.recurrent import RecurrentModelBattery\n"
        "class TestMine(RecurrentModelBattery):\n"
        "    opted_out = {'test_bfloat16': 'no such hardware'}\n"
    )
    command = [sys.executable, "-m", "pytest", "-rs", "-k", "bfloat16 or tuple", str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    assert "1 failed, 1 skipped" in process.stdout
    assert "no such hardware" in process.stdout
    assert "TestMine must define make_model()" in process.stdout
