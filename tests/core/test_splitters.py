"""A splitter is found by the identity of the class of a model."""

from __future__ import annotations

import sys
import types

import pytest

from evenfall import registry
from evenfall.errors import RegistryError
from evenfall.owners import Owner
from evenfall.splitters import Splitter, splitter_for

OWNER = Owner("one", "dist-one", "1")


class Model:
    def forward(self) -> int:
        return 1


class Heir(Model):
    pass


class Changed(Model):
    def forward(self) -> int:
        return 2


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch):
    """Register `reference` for Model under its public path, models_of_test.Model."""
    module = types.ModuleType("models_of_test")
    vars(module).update(Model=Model, SPLITTER=Splitter(), WRONG=3)
    monkeypatch.setitem(sys.modules, "models_of_test", module)

    def register(name: str) -> types.ModuleType:
        registry.splitters.add("models_of_test.Model", f"models_of_test:{name}", OWNER)
        return module

    yield register
    registry.splitters.remove_owner(OWNER)


def test_a_class_and_its_heirs_have_the_splitter(known) -> None:
    module = known("SPLITTER")
    assert splitter_for(Model()) is module.SPLITTER
    assert splitter_for(Heir()) is module.SPLITTER


def test_another_forward_or_another_class_of_that_name_has_none(known) -> None:
    known("SPLITTER")
    assert splitter_for(Changed()) is None
    assert splitter_for(type("Model", (), {})()) is None


def test_a_wrong_reference_is_an_error(known) -> None:
    known("WRONG")
    with pytest.raises(RegistryError, match="want an evenfall"):
        splitter_for(Model())
