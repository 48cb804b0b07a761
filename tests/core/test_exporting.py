"""`evenfall.export` finds the exporter, and a lowering is found by the class of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

np = pytest.importorskip("numpy")

import evenfall
from evenfall import registry
from evenfall.errors import LoweringError, RegistryError, UnknownNameError
from evenfall.exporting import lower
from evenfall.graph import Dense, Graph, Input, Readout
from evenfall.lowering import GraphBuilder, Lowering
from evenfall.owners import Owner

OWNER = Owner("tests")


class Mixer:
    """Stands for a module: a class with forward."""

    def __init__(self, size: int = 3) -> None:
        self.size = size

    def forward(self) -> None:
        """Nothing."""


class Overridden(Mixer):
    def forward(self) -> None:
        """Another forward."""


class Pair:
    def __init__(self, *parts: object) -> None:
        self.parts = parts

    def forward(self) -> None:
        """Nothing."""


def _lower_mixer(module: Mixer, builder: GraphBuilder) -> None:
    builder.add("mix", Dense(np.eye(module.size)))


def _lower_pair(module: Pair, builder: GraphBuilder) -> None:
    builder.add("in", Input((3,)))
    for number, part in enumerate(module.parts):
        builder.lower(part, str(number))
    builder.add("out", Readout())


MIXER, PAIR = Lowering(_lower_mixer), Lowering(_lower_pair)


def write(model: object, output: str, **options: object) -> tuple[object, str, dict]:
    return model, output, options


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    for name in ("Mixer", "Pair"):
        registry.lowerings.add(f"{__name__}.{name}", f"{__name__}:{name.upper()}", OWNER)
    registry.exporters.add("tests-writer", f"{__name__}:write", OWNER)
    yield
    registry.lowerings.remove_owner(OWNER)
    registry.exporters.remove_owner(OWNER)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this())


def _this() -> object:
    import types

    module = types.ModuleType(__name__)
    vars(module).update(globals())
    return module


def test_export_calls_the_exporter() -> None:
    assert evenfall.export("model", "tests-writer", "out", mode="x") == (
        "model", "out", {"mode": "x"},
    )  # fmt: skip


def test_unknown_target_lists_the_closest() -> None:
    with pytest.raises(UnknownNameError, match="tests-writer"):
        evenfall.export("model", "tests-write", "out")


def test_parts_become_layers_with_the_names_of_the_modules() -> None:
    graph = lower(Pair(Mixer(), Mixer()))
    assert isinstance(graph, Graph)
    assert list(graph.layers) == ["in", "0.mix", "1.mix", "out"]
    assert graph.edges == (("in", "0.mix"), ("0.mix", "1.mix"), ("1.mix", "out"))
    assert graph.metadata["model"].endswith(".Pair")


def test_subclass_with_its_own_forward_is_unknown() -> None:
    with pytest.raises(LoweringError, match=r"module '0': .*Overridden has no lowering; classes"):
        lower(Pair(Overridden()))


def test_graph_that_does_not_fit_is_refused() -> None:
    with pytest.raises(LoweringError, match=r"layer '0.mix': Dense: got input shape \(3,\)"):
        lower(Pair(Mixer(4)))


def test_reference_that_is_no_lowering_is_refused() -> None:
    registry.lowerings.remove_owner(OWNER)
    registry.lowerings.add(f"{__name__}.Mixer", f"{__name__}:OWNER", OWNER)
    with pytest.raises(RegistryError, match=r"is a Owner, want an evenfall.lowering.Lowering"):
        lower(Mixer())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (3, "model: builtins.int has no lowering; classes"),
        (None, "model: builtins.NoneType has no lowering"),
        ([1], "model: builtins.list has no lowering"),
        (Pair, "model: got the class Pair, want an instance"),
    ],
)
def test_what_is_no_module_is_named(model: object, message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        lower(model)
