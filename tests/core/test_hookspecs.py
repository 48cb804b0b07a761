"""Every hook has a docstring, and each one reaches its registry."""

from __future__ import annotations

import inspect

import pytest

from evenfall import hookspecs
from evenfall.registry import ALL

HOOKS = [name for name in vars(hookspecs) if name.startswith("evenfall_")]


@pytest.mark.parametrize("name", HOOKS)
def test_hook_has_a_docstring(name: str) -> None:
    text = inspect.getdoc(getattr(hookspecs, name))
    assert text is not None
    assert text.endswith(".")


def test_there_is_a_hook_for_every_registry() -> None:
    assert [f"evenfall_register_{kind}" for kind in ALL] == HOOKS


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind != "kernels"])
def test_hook_registers(world, kind: str) -> None:
    world.install(
        "one",
        f"""
        @hookimpl
        def evenfall_register_{kind}(register):
            register("thing", "json:loads", summary="a thing")
        """,
    )
    entry = ALL[kind].provenance("thing")
    assert (entry.reference, dict(entry.metadata)) == ("json:loads", {"summary": "a thing"})
    assert entry.owner.distribution == "dist-one"


def test_kernel_hook_registers(world) -> None:
    world.install(
        "one",
        """
        @hookimpl
        def evenfall_register_kernels(register):
            register("scan", "cpu", "json:loads", devices=("cpu", "cuda"), priority=3)
        """,
    )
    assert dict(ALL["kernels"].provenance("scan/cpu").metadata) == {
        "operation": "scan",
        "backend": "cpu",
        "devices": ["cpu", "cuda"],
        "dtypes": ["float32"],
        "priority": 3,
        "slow": False,
    }
