"""Every call checks its arguments once, and reads values from a GPU once."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from evenfall_stream import (
    EventStreamClassifier,
    StreamBlock,
    StreamClassifier,
    StreamConv,
    StreamSegmenter,
)
from evenfall_stream.checks import Check, read

WAITS = {
    "__bool__", "__float__", "__index__", "__int__", "bincount", "cpu", "item", "nonzero", "tolist",
    "unique",
}  # fmt: skip
SMALL: dict[str, Any] = {"width": 12, "depth": 2, "groups": 6, "neighbors": 4, "d_state": 4}
BATCH = torch.tensor([0] * 12 + [1] * 12)
POS = torch.rand(24, 3, generator=torch.Generator().manual_seed(0))
TIME = torch.cat([torch.arange(12.0), torch.arange(12.0)])[:, None]
EVENTS = torch.cat([TIME, torch.zeros(24, 2)], 1)


class Elsewhere(Tensor):
    """As if on a GPU: what is made from it is there too, and looking at its values is noted."""

    is_cpu = False
    calls: ClassVar[Counter[str]] = Counter()

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        cls.calls[func.__name__] += 1
        return super().__torch_function__(func, types, args, kwargs or {})


def move(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone().as_subclass(Elsewhere)


def conv() -> Callable[..., Tensor]:
    layer = StreamConv(5, 4, d_state=3)
    return lambda pos, batch: layer(torch.ones_like(pos)[:, :1].expand(-1, 5), pos, batch)


def block() -> Callable[..., Tensor]:
    layer = StreamBlock(3, drop_path=0.5, mlp_ratio=1.0, d_state=3)
    return lambda pos, batch: layer(torch.ones_like(pos), pos, batch)


def classifier(training: bool = False, **options: Any) -> Callable[..., Tensor]:
    return StreamClassifier(3, **{**SMALL, "head": (), "drop_path": 0.3, **options}).train(training)


def segmenter(**options: Any) -> Callable[..., Tensor]:
    return StreamSegmenter(3, **{**SMALL, "head": (), **options})


def events(**options: Any) -> Callable[..., Tensor]:
    sizes = {"widths": (8, 12), "strides": (3, 2), "depths": (1, 2), "d_state": 4}
    model = EventStreamClassifier(3, (5, 4), **{**sizes, "drop_path": 0.3, **options})
    return lambda pos, batch: model(
        pos[:, 1:2] * 0, torch.cat([pos[:, :1], pos[:, 1:] * 0], 1), batch
    )


CALLS: list[tuple[Callable[..., Callable[..., Tensor]], dict[str, Any]]] = [
    (conv, {}),
    (block, {}),
    (classifier, {}),
    (classifier, {"training": True}),
    (classifier, {"groups": None}),
    (classifier, {"layout": "sequence"}),
    (classifier, {"layout": "sequence", "architecture": "pointmamba", "training": True}),
    (classifier, {"architecture": "pointnet"}),
    (segmenter, {}),
    (events, {}),
    (events, {"head": "time", "bidirectional": True}),
]


def name_of(value: Any) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize("batch", [None, BATCH], ids=["one", "two"])
@pytest.mark.parametrize(
    ("make", "options"), CALLS, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_values_are_looked_at_once(
    make: Callable[..., Callable[..., Tensor]], options: dict[str, Any], batch: Tensor | None
) -> None:
    torch.manual_seed(0)
    call = make(**options)
    pos = POS.sort(0).values if batch is None else EVENTS
    expected = seeded(call, pos, batch)
    there = move(pos), move(batch)
    Elsewhere.calls.clear()
    result = seeded(call, *there)
    waits = {name: count for name, count in Elsewhere.calls.items() if name in WAITS}
    assert waits == {"tolist": 1}
    assert Elsewhere.calls["isfinite"] == 1
    assert isinstance(result, Elsewhere)
    assert torch.equal(result.as_subclass(Tensor), expected)


def seeded(call: Callable[..., Tensor], *arguments: Any) -> Tensor:
    torch.manual_seed(1)
    return call(*arguments)


def functions_called(call: Callable[[], object]) -> Counter[str]:
    """How often each function of the plugin runs."""
    names: Counter[str] = Counter()

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call" and "evenfall_stream" in frame.f_code.co_filename:
            names[frame.f_code.co_name] += 1

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return names


def test_a_layer_checks_each_argument_once() -> None:
    layer = StreamConv(3, 4)
    names = functions_called(lambda: layer(POS, POS, BATCH))
    checks = ("check_floating", "check_pos", "check_features", "finite", "read_graphs", "read")
    assert [names[name] for name in checks] == [2, 1, 1, 1, 1, 1]


def test_a_classifier_of_two_blocks_checks_at_its_door() -> None:
    model = StreamClassifier(3, **SMALL).eval()
    names = functions_called(lambda: model(POS, BATCH))
    checks = ("check_pos", "finite", "read_graphs", "read", "flat_points")
    assert [names[name] for name in checks] == [1, 1, 1, 1, 0]


def test_hooks_of_blocks_and_layers_fire() -> None:
    model = StreamClassifier(3, **SMALL).eval()
    calls_by_type: Counter[str] = Counter()
    for module in model.modules():
        module.register_forward_hook(lambda own, *_: calls_by_type.update([type(own).__name__]))
    model(POS, BATCH)
    assert (
        calls_by_type["StreamBlock"],
        calls_by_type["StreamConv"],
        calls_by_type["PointTokens"],
    ) == (2, 2, 1)


def test_presorted_tokens_are_checked_too() -> None:
    model = StreamClassifier(3, **{**SMALL, "groups": None, "presorted": True, "axes": (0,)}).eval()
    assert model(POS.sort(0).values).shape == (1, 3)
    with pytest.raises(ValueError, match="pos must not decrease along axis 0"):
        model(POS)


def test_the_first_error_is_raised_and_numbers_follow() -> None:
    yes, no = torch.tensor(True), torch.tensor(False)
    first, second = (lambda: KeyError("first")), (lambda: KeyError("second"))
    assert read(
        [Check(yes, "", first), Check(yes, "", second)], torch.tensor([7, 8]), torch.tensor([9])
    ) == [7, 8, 9]
    with pytest.raises(KeyError, match="second"):
        read([Check(yes, "", first), Check(no, "", second)])
    with pytest.raises(KeyError, match="first"):
        read([Check(no, "", first), Check(no, "", second)], torch.tensor([7]))
