"""Callbacks: found by name, with a state in checkpoints and errors that name them."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from evenfall.errors import CallbackError, ReferenceImportError, UnknownNameError
from evenfall.runs import Callback, Callbacks, TrainingContext, check_callbacks, make_callbacks

CONTEXT = TrainingContext(None, None, None, 1, 2, 1, Path())


class Count(Callback):
    def __init__(self, start: int = 0) -> None:
        self.calls: dict[str, Any] = {"start": start}

    def on_step_end(self, context: TrainingContext) -> None:
        self.calls["steps"] = context.step

    def state_dict(self) -> dict[str, Any]:
        return self.calls

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.calls = state


class Failing(Callback):
    def on_epoch_end(self, context: TrainingContext) -> None:
        raise ZeroDivisionError("no units left")

    def state_dict(self) -> dict[str, Any]:
        return {"masks": {"a": [1, {2}]}}

    def counts_as_best(self) -> bool:
        return False


class Renaming(Callback):
    def prepare(self, model: Any) -> None:
        torch.nn.utils.parametrizations.orthogonal(model)


class NoCallback:
    pass


class NeedsGpu(Callback):
    def __init__(self) -> None:
        raise RuntimeError("no GPU")


@pytest.fixture
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """This module under the name that the references below use."""
    monkeypatch.setitem(sys.modules, "callbacks_of_a_test", sys.modules[__name__])


@pytest.mark.usefixtures("_importable")
def test_a_recipe_names_callbacks_and_their_options(tmp_path: Path) -> None:
    name = "callbacks_of_a_test:Count"
    made = make_callbacks([name, {name: {"start": 3}}, {name: None}])
    made.on_step_end(CONTEXT)
    made.save(tmp_path)
    again = make_callbacks([name, name, name])
    again.load(tmp_path)
    calls = [callback.calls for _, callback in again._members]
    assert calls == [{"start": s, "steps": 1} for s in (0, 3, 0)]


def test_a_registered_name(world) -> None:
    world.install(
        "one",
        """
        @hookimpl
        def evenfall_register_callbacks(register):
            register("plain", "evenfall.runs:Callback")
        """,
    )
    assert make_callbacks(["plain"]).objections() == []
    with pytest.raises(UnknownNameError, match=r"unknown callback 'plan'. Closest: 'plain'"):
        make_callbacks(["plan"])


@pytest.mark.usefixtures("_importable")
@pytest.mark.parametrize(
    ("entry", "error", "words"),
    [
        (3, ValueError, r"must list NAME, module:Name or NAME: {options}, got 3"),
        ({"a": {}, "b": {}}, ValueError, "must list NAME"),
        ({"a": [1]}, ValueError, "must list NAME"),
        ("no_such_module:Count", ReferenceImportError, "callback 'no_such_module:Count'"),
        ("math:pi", CallbackError, "callback 'math:pi' is a float, want a Callback class"),
        ("callbacks_of_a_test:NoCallback", CallbackError, "makes a NoCallback, want an evenfall"),
        ("callbacks_of_a_test:NeedsGpu", CallbackError, "NeedsGpu': RuntimeError: no GPU"),
        ({"callbacks_of_a_test:Count": {"end": 1}}, ValueError, "Count': .*'end'"),
    ],
)
def test_wrong_entries_are_named(entry: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make_callbacks([entry])


def test_the_form_is_checked_without_an_import() -> None:
    check_callbacks(["no_such_module:Count", {"other": {"a": 1}}])
    with pytest.raises(ValueError, match="callbacks must be a list, got 'count'"):
        check_callbacks("count")


def test_callback_that_raises_is_named() -> None:
    callbacks = Callbacks([("good", Callback()), ("bad", Failing())])
    callbacks.on_step_end(CONTEXT)
    with pytest.raises(CallbackError, match="'bad', on_epoch_end: ZeroDivisionError: no units"):
        callbacks.on_epoch_end(CONTEXT)
    assert callbacks.objections() == ["bad"]


def test_names_of_parameters_must_stay() -> None:
    callbacks = Callbacks([("renaming", Renaming())])
    with pytest.raises(
        CallbackError, match=r"'renaming', prepare: .* must not change, but \['parametriz"
    ):
        callbacks.prepare(torch.nn.Linear(2, 2))


def test_states_are_tensors_and_plain_values(tmp_path: Path) -> None:
    count = Count()
    weight = torch.arange(6.0).view(2, 3)
    count.calls = {
        "mask": weight.T > 2, "same": [weight, weight[:1]], "half": torch.ones(2).bfloat16(),
        "number": 0.1, "none": None, "nested": {"text": "a", "pair": (1, True)}, "inf": math.inf,
    }  # fmt: skip
    Callbacks([("count", count)]).save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["callbacks.json", "callbacks.safetensors"]
    again = Count()
    Callbacks([("count", again)]).load(tmp_path)
    found = again.calls
    assert torch.equal(found["mask"], weight.T > 2)
    assert found["half"].dtype == torch.bfloat16
    assert torch.equal(found["same"][0], weight)
    assert torch.equal(found["same"][1], weight[:1])
    assert found["nested"] == {"text": "a", "pair": [1, True]}
    assert found["none"] is None
    assert (found["number"], found["inf"]) == (0.1, math.inf)


def test_state_that_cannot_be_saved_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        CallbackError, match=r"callback 'bad': state\['masks'\]\['a'\]\[1\] is a set"
    ):
        Callbacks([("bad", Failing())]).save(tmp_path)
    count = Count()
    count.calls = {1.5: 2}  # type: ignore[dict-item]
    with pytest.raises(CallbackError, match=r"state has the key 1.5; keys must be strings or int"):
        Callbacks([("count", count)]).save(tmp_path)
    count.calls = {"mask": torch.eye(3).to_sparse()}
    with pytest.raises(CallbackError, match=r"'count': state\['mask'\] is a sparse tensor"):
        Callbacks([("count", count)]).save(tmp_path)
    count.calls = {"mask": torch.empty(3, device="meta")}
    with pytest.raises(CallbackError, match="is a meta tensor; want a dense one"):
        Callbacks([("count", count)]).save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_states_that_are_missing_damaged_or_of_others(tmp_path: Path) -> None:
    one, two = Callbacks([("a", Count())]), Callbacks([("a", Count()), ("b", Count())])
    with pytest.raises(ValueError, match=r"has no callbacks\.json: it was saved without callbacks"):
        one.load(tmp_path)
    one.save(tmp_path)
    with pytest.raises(ValueError, match="states of 1 callbacks, but the run has 2"):
        two.load(tmp_path)
    (tmp_path / "callbacks.json").write_text('[{"a"')
    with pytest.raises(ValueError, match=r"callbacks\.json cannot be read"):
        one.load(tmp_path)


def test_no_callbacks_write_no_file(tmp_path: Path) -> None:
    none = make_callbacks([])
    none.prepare(None)
    none.save(tmp_path)
    none.load(tmp_path)
    assert none.files == [] == none.objections()
    assert not list(tmp_path.iterdir())
