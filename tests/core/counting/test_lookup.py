"""The counter of a module: found by the identity of its class, inside of wrappers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn.utils import parametrize, prune

from evenfall import registry
from evenfall.counting import Counter, Matrix, counter_for, without_wrappers
from evenfall.counting.torch_nn import ATTENTION, LINEAR, RELU
from evenfall.errors import RegistryError
from evenfall.owners import Owner

OWNER = Owner("tests")
OURS = Counter(lambda module: (Matrix("weight", 0),))


class Half(nn.Module):
    """A parametrisation: half of the weight is zero."""

    def forward(self, weight: Any) -> Any:
        return weight * (torch.arange(weight.numel()).reshape(weight.shape) % 2)


class WithLora(nn.Linear):
    """As adapters do it: a Linear whose forward does more."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.down, self.up = nn.Linear(sizes[0], 2, False), nn.Linear(2, sizes[1], False)

    def forward(self, x: Any) -> Any:
        return super().forward(x) + self.up(self.down(x))


class Named(nn.Linear):
    """A Linear with another name and the same forward."""


@pytest.fixture
def register() -> Iterator[Callable[..., None]]:
    """Register counters for the length of a test."""
    yield lambda path, reference="test_counters:OURS": registry.counters.add(path, reference, OWNER)
    registry.counters.remove_owner(OWNER)


@pytest.fixture
def make_package(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """A loaded module with some attributes."""

    def make(name: str, **attributes: Any) -> ModuleType:
        module = ModuleType(name)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    make("test_counters", OURS=OURS, WRONG=3)
    return make


def test_public_path_and_not_the_class_own_name() -> None:
    assert nn.Linear.__module__ == "torch.nn.modules.linear"
    assert counter_for(nn.Linear(2, 3)) is LINEAR
    assert counter_for(nn.ReLU()) is RELU


def test_subclass_with_the_same_forward_is_known() -> None:
    assert counter_for(Named(2, 3)) is LINEAR
    assert counter_for(nn.MultiheadAttention(4, 2).out_proj) is LINEAR


def test_subclass_with_a_forward_of_its_own_is_unknown() -> None:
    assert counter_for(WithLora(2, 3)) is None


def test_subclass_that_changes_another_method_that_does_the_work_is_unknown() -> None:
    class Odd(nn.Conv2d):
        def _conv_forward(self, input: Any, weight: Any, bias: Any) -> Any:
            return super()._conv_forward(input, weight * 2, bias)

    assert counter_for(Odd(1, 1, 1)) is None


def test_module_whose_forward_was_replaced_is_unknown() -> None:
    module = nn.Linear(2, 3)
    module.forward = lambda x: x  # type: ignore[method-assign]
    assert counter_for(module) is None


def test_parametrised_module_is_known_and_keeps_its_real_weight() -> None:
    module = nn.Linear(2, 4)
    parametrize.register_parametrization(module, "weight", Half())
    assert type(module) is not nn.Linear
    assert counter_for(module) is LINEAR
    (matrix,) = LINEAR.matrices(module)
    assert int(torch.count_nonzero(matrix.of(module))) == 4
    adapted = WithLora(2, 4)
    parametrize.register_parametrization(adapted, "weight", Half())
    assert counter_for(adapted) is None


def test_pruned_module_is_known_by_the_pruned_weight() -> None:
    module = prune.l1_unstructured(nn.Linear(2, 4), "weight", 0.5)
    (matrix,) = counter_for(module).matrices(module)
    assert int(torch.count_nonzero(matrix.of(module))) == 4


def test_wrappers_are_ignored() -> None:
    inner = nn.Linear(2, 3)
    for wrapped in (
        torch.compile(inner),
        nn.DataParallel(inner),
        torch.compile(nn.DataParallel(inner)),
    ):
        assert without_wrappers(wrapped) is inner
        assert counter_for(wrapped) is LINEAR


def test_ddp_is_ignored(tmp_path) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1)
    try:
        inner = nn.Linear(2, 3)
        wrapped = nn.parallel.DistributedDataParallel(inner)
        assert without_wrappers(torch.compile(wrapped)) is inner
        assert counter_for(wrapped) is LINEAR
    finally:
        dist.destroy_process_group()


def test_accelerates_hooks_are_ignored() -> None:
    hooks = pytest.importorskip("accelerate.hooks")
    module = nn.Linear(2, 3)
    hooks.add_hook_to_module(module, hooks.ModelHook())
    assert "forward" in vars(module)
    assert counter_for(module) is LINEAR


def test_class_of_another_module_with_the_same_name_is_unknown(
    register: Callable[..., None], make_package: Callable[..., ModuleType]
) -> None:
    ours, theirs = (type("Layer", (nn.Module,), {}) for _ in range(2))
    make_package("test_package", Layer=ours)
    make_package("transformers_modules.test_package", Layer=theirs)
    register("test_package.Layer")
    assert counter_for(ours()) is OURS
    assert counter_for(theirs()) is None


def test_class_whose_module_is_not_loaded_is_never_imported(
    register: Callable[..., None], make_package: Callable[..., ModuleType]
) -> None:
    register("wave.Linear")  # of the standard library, and without such a class
    register("test_absent.Linear")
    sys.modules.pop("wave", None)
    assert counter_for(nn.Linear(2, 3)) is LINEAR
    assert "wave" not in sys.modules


def test_name_that_a_loaded_module_imports_on_demand(
    register: Callable[..., None], make_package: Callable[..., ModuleType]
) -> None:
    layer = type("Layer", (nn.Module,), {})
    asked: list[str] = []

    def offer(name: str) -> Any:
        asked.append(name)
        if name == "Layer":
            return layer
        raise ImportError(name)

    make_package("test_package", __getattr__=offer)
    register("test_package.Layer")
    register("test_package.Broken")
    assert counter_for(nn.Linear(2, 3)) is LINEAR
    assert asked == []  # no class of that name is in sight
    assert counter_for(layer()) is OURS
    assert counter_for(type("Broken", (nn.Module,), {})()) is None


def test_nested_class(
    register: Callable[..., None], make_package: Callable[..., ModuleType]
) -> None:
    inner = type("Inner", (nn.Module,), {})
    make_package("test_package", Outer=type("Outer", (), {"Inner": inner}))
    register("test_package.Outer.Inner")
    assert counter_for(inner()) is OURS


def test_registered_object_that_is_not_a_counter_is_an_error(
    register: Callable[..., None], make_package: Callable[..., ModuleType]
) -> None:
    layer = type("Layer", (nn.Module,), {})
    make_package("test_package", Layer=layer)
    register("test_package.Layer", "test_counters:WRONG")
    with pytest.raises(
        RegistryError, match=r"'test_counters:WRONG' is a int, want an evenfall.count"
    ):
        counter_for(layer())


def test_matrices_of_attention() -> None:
    same = nn.MultiheadAttention(4, 2)
    assert [one.parameter for one in ATTENTION.matrices(same)] == [
        "in_proj_weight",
        "out_proj.weight",
    ]
    apart = nn.MultiheadAttention(4, 2, kdim=3, vdim=5)
    names = [one.parameter for one in ATTENTION.matrices(apart)]
    assert names == ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"]
    assert all(
        one.of(apart).shape[one.input_axis] in (3, 4, 5) for one in ATTENTION.matrices(apart)
    )


def test_every_built_in_counter_resolves() -> None:
    from evenfall.built_in import COUNTERS

    for path in COUNTERS:
        module, _, name = path.rpartition(".")
        assert hasattr(pytest.importorskip(module), name)
        assert isinstance(registry.counters.get(path), Counter)
