"""The state reaches the right scan, and no other, however the mixer is called."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from torch import Tensor
from transformers import DynamicCache, Mamba2Config, Mamba2ForCausalLM

import evenfall
from evenfall_mamba.huggingface import operations

CLOSE: dict[str, float] = {"rtol": 0, "atol": 1e-5}
InPieces = Callable[..., Tensor]


@torch.no_grad()
def test_model_whose_forwards_were_bound_before(
    model: Any, ids: Tensor, logits_in_pieces: InPieces
) -> None:
    """Accelerate calls the forward that a module had when the model was placed on devices."""
    want = model(ids).logits
    cpu_offload(model, execution_device=torch.device("cpu"))
    with evenfall.patch("mamba"):
        torch.testing.assert_close(logits_in_pieces(model, ids, [8, 4]), want, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("when", ["before", "inside"])
def test_compiled_model(
    make_model: Callable[[str], Any], ids: Tensor, logits_in_pieces: InPieces, when: str
) -> None:
    model = make_model("Mamba")
    want = model(ids).logits
    model.forward = torch.compile(model.forward, backend="aot_eager")
    if when == "before":
        logits_in_pieces(model, ids, [8, 4])
    with evenfall.patch("mamba"):
        torch.testing.assert_close(logits_in_pieces(model, ids, [8, 4]), want, **CLOSE)
    torch.compiler.reset()


def test_threads_do_not_see_each_other(model: Any, ids: Tensor, logits_in_pieces: InPieces) -> None:
    got: dict[str, Tensor] = {}

    def run(sizes: list[int]) -> None:
        with torch.no_grad():
            for _ in range(3):
                got[str(sizes)] = logits_in_pieces(model, ids, sizes)

    with torch.no_grad():
        want = model(ids).logits
    with evenfall.patch("mamba"):
        threads = [threading.Thread(target=run, args=(s,)) for s in ([8, 4], [3, 9], [12])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(got) == len(threads)
    for logits in got.values():
        torch.testing.assert_close(logits, want, **CLOSE)


@torch.no_grad()
def test_call_that_failed_leaves_no_state(
    model: Any, ids: Tensor, logits_in_pieces: InPieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = model(ids).logits
    scan = operations.selective_scan

    def failing(*args: Any, initial_state: Tensor | None, **kwargs: Any) -> Any:
        if initial_state is not None:
            raise MemoryError
        return scan(*args, initial_state=initial_state, **kwargs)

    with evenfall.patch("mamba"):
        with monkeypatch.context() as patch:
            patch.setattr(operations, "selective_scan", failing)
            with pytest.raises(MemoryError):
                logits_in_pieces(model, ids, [8, 4])
        torch.testing.assert_close(model(ids, use_cache=False).logits, want, **CLOSE)
        torch.testing.assert_close(logits_in_pieces(model, ids, [8, 4]), want, **CLOSE)


@torch.no_grad()
def test_cache_that_was_reset_starts_from_zero(
    make_model: Callable[[str], Any], ids: Tensor
) -> None:
    model = make_model("Mamba")
    cache = DynamicCache(config=model.config)
    with evenfall.patch("mamba"):
        want = model(ids, None, None, cache).logits
        cache.reset()
        torch.testing.assert_close(model(ids, None, None, cache).logits, want, **CLOSE)


@torch.no_grad()
def test_models_with_another_scan_stay_as_they_are(ids: Tensor) -> None:
    config = Mamba2Config(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_heads=8, head_dim=8, state_size=8,
        n_groups=2, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = Mamba2ForCausalLM(config).eval()
    settings = {"max_new_tokens": 4, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    want = model.generate(ids, **settings)
    with evenfall.patch("mamba"):
        assert torch.equal(model.generate(ids, **settings), want)
