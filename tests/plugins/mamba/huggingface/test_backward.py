"""The backward pass gives the same gradients wherever it runs, with gradient checkpointing too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

import evenfall
from evenfall import patches
from evenfall_mamba.huggingface import operations

from ..conftest import MAKERS, make_model
from .mamba2_models import MAKERS as MAMBA2_MAKERS

ALL = {**MAKERS, **MAMBA2_MAKERS}
SEQ_IDX = torch.tensor([[0] * 5 + [1] * 7])


def patched() -> Any:
    return evenfall.patch("mamba", targets=["transformers"])


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(3, 50, (1, 12), generator=torch.Generator().manual_seed(1))


def gradients(model: Any) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def train(model: Any, ids: Tensor, around: Any, backward_in: Any, **options: Any) -> Any:
    model.zero_grad()
    with around:
        loss = model(ids, labels=ids, **options).loss
    with backward_in:
        loss.backward()
    return gradients(model)


@contextmanager
def both(*blocks: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for block in blocks:
            stack.enter_context(block)
        yield


@pytest.mark.parametrize("name", ["Mamba", "Jamba", "Zamba", "Mamba2"])
def test_checkpointed_layers_after_the_block(
    name: str, ids: Tensor, checkpoint_activations: Callable[[Any], None]
) -> None:
    model = make_model(name, ALL).train()
    want = train(model, ids, patched(), nullcontext())
    checkpoint_activations(model)
    got = train(model, ids, patched(), nullcontext())
    assert got.keys() == want.keys()
    for key, value in got.items():
        torch.testing.assert_close(value, want[key], msg=key)
    assert patches.applied() == []


@pytest.mark.parametrize("name", ["Mamba", "Mamba2"])
def test_checkpointed_and_packed_after_the_block(
    name: str, ids: Tensor, checkpoint_activations: Callable[[Any], None]
) -> None:
    model = make_model(name, ALL).train()
    want = train(model, ids, patched(), nullcontext(), seq_idx=SEQ_IDX)
    checkpoint_activations(model)
    got = train(model, ids, patched(), nullcontext(), seq_idx=SEQ_IDX)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("name", ["Mamba", "Mamba2", "FalconH1", "NemotronH"])
def test_checkpointed_layers_are_computed_twice(
    name: str, ids: Tensor, checkpoint_activations: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The patch must not switch checkpointing off, as a new `forward` of a layer would."""
    calls = []
    convolve = operations.convolve

    def counted(*args: Any, **more: Any) -> Any:
        calls.append(1)
        return convolve(*args, **more)

    monkeypatch.setattr(operations, "convolve", counted)
    model = make_model(name, ALL).train()
    train(model, ids, patched(), nullcontext())
    once = len(calls)
    checkpoint_activations(model)
    train(model, ids, patched(), nullcontext())
    assert len(calls) == 3 * once


OUTER = {
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "use_backend": lambda: evenfall.use_backend("reference"),
}


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("around", ["forward", "backward"])
@pytest.mark.parametrize("block", OUTER)
@pytest.mark.filterwarnings("ignore::evenfall.errors.BackendWarning")
def test_blocks_entered_or_left_in_between(
    block: str, around: str, checkpointed: bool, ids: Tensor,
    checkpoint_activations: Callable[[Any], None],
) -> None:  # fmt: skip
    if (block, around) in (("no_grad", "forward"), ("autocast", "backward")):
        pytest.skip("nothing is recorded, or PyTorch's own products differ")
    model = make_model("Mamba").train()
    first = both(patched(), OUTER[block]()) if around == "forward" else patched()
    want = train(model, ids, first, nullcontext())
    if checkpointed:
        checkpoint_activations(model)
    first = both(patched(), OUTER[block]()) if around == "forward" else patched()
    got = train(model, ids, first, OUTER[block]() if around == "backward" else nullcontext())
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_unpatched_forward_and_backward_in_the_block(
    checkpointed: bool, ids: Tensor, checkpoint_activations: Callable[[Any], None]
) -> None:
    """With checkpointing, PyTorch says that the second run differs; nothing is wrong in silence."""
    model = make_model("Mamba").train()
    want = train(model, ids, nullcontext(), nullcontext())
    if not checkpointed:
        torch.testing.assert_close(train(model, ids, nullcontext(), patched()), want)
        return
    checkpoint_activations(model)
    with pytest.raises(torch.utils.checkpoint.CheckpointError):
        train(model, ids, nullcontext(), patched())
