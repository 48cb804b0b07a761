"""Patches: complete or not at all, reversible, with clear errors."""

from __future__ import annotations

import sys

import pytest

import evenfall
from evenfall.errors import PatchError, ReferenceImportError, UnknownNameError
from evenfall.patches import applied

HOST = """
class Base:
    def inherited(self, x):
        return "inherited"


class Layer(Base):
    @staticmethod
    def forward(x, y=1):
        return "original"


def scan(u, delta):
    return "original"


def step(u):
    return "original"


class Operation:
    def __call__(self, *args, **kwargs):
        return self.forward(*args, **kwargs)

    def forward(self, u, delta):
        return "original"


operation = Operation()
"""

PATCHES = """
import site_host
from evenfall.patches import Change, Patch, Target


def wrap(word):
    return lambda original: lambda *args, **kwargs: word + " over " + original(*args, **kwargs)


GOOD = (
    Change("site_host", "scan", wrap("ours"), ("u", "delta")),
    Change("site_host:Layer", "forward", lambda original: staticmethod(wrap("ours")(original))),
    Change("site_host:Layer", "inherited", wrap("ours"), ("self", "x")),
)
STEP = (Change("site_host", "step", wrap("other"), ("u",)),)

PATCH = Patch({"host": Target("dist-host", ">=1,<2", GOOD)})
TWO = Patch({
    "host": Target("dist-host", ">=1,<2", GOOD),
    "gone": Target("dist-gone", ">=1", STEP),
})
OTHER = Patch({"host": Target("dist-host", ">=1,<2", STEP)})
OVER = Patch({"host": Target("dist-host", ">=1,<2", (Change("site_host", "scan", wrap("over")),))})
OLD = Patch({"host": Target("dist-host", ">=2", GOOD)})
RENAMED = Patch({"host": Target("dist-host", ">=1", GOOD[:1] + (
    Change("site_host", "step", wrap("ours"), ("u", "delta")),))})
MISSING = Patch({"host": Target("dist-host", ">=1", GOOD[:1] + (
    Change("site_host", "stepp", wrap("ours")),))})
NO_MODULE = Patch({"host": Target("dist-host", ">=1", GOOD[:1] + (
    Change("site_hosst", "step", wrap("ours")),))})
FAILS = Patch({"host": Target("dist-host", ">=1", GOOD + (
    Change("builtins:int", "bit_length", wrap("ours")),))})
LAYER = Patch({"host": Target("dist-host", ">=1", (
    Change("site_host", "operation", wrap("ours"), ("u", "delta")),))})
OTHER_LAYER = Patch({"host": Target("dist-host", ">=1", (
    Change("site_host", "operation", wrap("ours"), ("u",)),))})
TWICE = Patch({"host": Target("dist-host", ">=1", GOOD + (
    Change("site_alias", "scan", wrap("ours")),))})
NOTHING = Patch({"gone": Target("dist-gone", ">=1", STEP)})
WRONG = 3
"""

NAMES = ["PATCH", "TWO", "OTHER", "OVER", "OLD", "RENAMED", "MISSING", "NO_MODULE", "FAILS",
         "LAYER", "OTHER_LAYER", "TWICE", "NOTHING", "WRONG"]  # fmt: skip


@pytest.fixture
def host(world):
    """A host package, and a plugin with patches of it."""
    world.write_module("site_host", HOST)
    world.write_module("site_alias", "import sys, site_host\nsys.modules[__name__] = site_host\n")
    world.write_metadata("dist-host", "", "1.4")
    world.write_module("site_patches", PATCHES)
    hooks = "".join(
        f"    register({name.lower()!r}, 'site_patches:{name}', host='host')\n" for name in NAMES
    )
    world.install("patcher", f"@hookimpl\ndef evenfall_register_patches(register):\n{hooks}")
    import site_host

    return site_host


def snapshot(host) -> tuple[dict, dict]:
    return dict(vars(host)), dict(vars(host.Layer))


def test_patch_applies_in_the_block_only(host) -> None:
    before = snapshot(host)
    with evenfall.patch("patch") as handle:
        assert handle.applied
        assert applied() == [handle]
        assert host.scan(1, 2) == host.Layer.forward(1) == "ours over original"
        assert host.Layer().inherited(1) == "ours over inherited"
        assert "patch' of host: applied" in repr(handle)
    assert snapshot(host) == before
    assert not handle.applied
    assert applied() == []


def test_layer_in_the_place_of_a_function_is_checked_by_its_forward(host) -> None:
    before = snapshot(host)
    with evenfall.patch("layer"):
        assert host.operation(1, 2) == "ours over original"
    assert snapshot(host) == before
    assert host.operation(1, delta=2) == "original"


def test_asking_for_a_patch_changes_nothing(host) -> None:
    before = snapshot(host)
    handle = evenfall.patch("patch")
    assert snapshot(host) == before
    assert handle.apply() is handle
    handle.revert()
    assert snapshot(host) == before


def test_error_in_the_block_still_reverts(host) -> None:
    before = snapshot(host)
    with pytest.raises(ZeroDivisionError), evenfall.patch("patch"):
        1 / 0  # noqa: B018
    assert snapshot(host) == before


def test_a_handle_can_be_used_again(host) -> None:
    handle = evenfall.patch("patch")
    for _ in range(2):
        with handle:
            assert host.scan(1, 2) == "ours over original"


@pytest.mark.parametrize("second", ["same handle", "another handle"])
def test_patching_twice_is_refused(host, second: str) -> None:
    with evenfall.patch("patch") as handle:
        inside = snapshot(host)
        again = handle if second == "same handle" else evenfall.patch("patch", ["host"])
        with pytest.raises(PatchError, match="'patch' is already applied to host"):
            again.apply()
        assert snapshot(host) == inside


def test_reverting_what_is_not_applied_is_refused(host) -> None:
    handle = evenfall.patch("patch")
    with pytest.raises(PatchError, match="not applied through this handle"):
        handle.revert()


def test_reverting_out_of_order_is_refused(host) -> None:
    before = snapshot(host)
    first, second = evenfall.patch("patch").apply(), evenfall.patch("over").apply()
    inside = snapshot(host)
    with pytest.raises(
        PatchError, match=r"patch 'over' changed site_host.scan later; revert that one first"
    ):
        first.revert()
    assert snapshot(host) == inside
    assert first.applied
    assert host.scan(1, 2) == "over over ours over original"
    second.revert()
    first.revert()
    assert snapshot(host) == before


def test_patches_of_different_attributes_revert_in_any_order(host) -> None:
    before = snapshot(host)
    first, second = evenfall.patch("patch").apply(), evenfall.patch("other").apply()
    first.revert()
    second.revert()
    assert snapshot(host) == before


def test_change_by_other_code_is_not_overwritten(host) -> None:
    handle = evenfall.patch("patch").apply()
    ours, host.scan = host.scan, len
    with pytest.raises(
        PatchError, match=r"other code has changed site_host\.scan; restore it first"
    ):
        handle.revert()
    assert host.scan is len
    host.scan = ours
    handle.revert()


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("old", PatchError, r"dist-host 1\.4 is not a tested version, want dist-host>=2"),
        ("renamed", PatchError, r"site_host\.step takes \(u\), want \(u, delta\)"),
        ("other_layer", PatchError, r"site_host\.operation takes \(u, delta\), want \(u\);"),
        ("missing", PatchError, r"site_host\.stepp does not exist"),
        ("no_module", ReferenceImportError, "No module named 'site_hosst'"),
        ("fails", TypeError, "immutable type"),
        ("twice", PatchError, r"changes site_host\.scan, which is site_alias\.scan, twice;"),
    ],
)
def test_refusal_changes_nothing(host, name: str, error: type[Exception], words: str) -> None:
    before = snapshot(host)
    handle = evenfall.patch(name)
    with pytest.raises(error, match=words):
        handle.apply()
    assert snapshot(host) == before
    assert not handle.applied


def test_hosts_that_are_not_installed(host) -> None:
    assert evenfall.patch("two").targets == ("host",)
    before = snapshot(host)
    with pytest.raises(PatchError, match="target 'gone': dist-gone is not installed"):
        evenfall.patch("two", ["host", "gone"]).apply()
    assert snapshot(host) == before
    with pytest.raises(PatchError, match=r"none of its hosts is installed \(dist-gone\)"):
        evenfall.patch("nothing")


def test_unknown_patches_and_targets_are_refused(host) -> None:
    with pytest.raises(UnknownNameError, match="unknown patch 'patsh'"):
        evenfall.patch("patsh")
    with pytest.raises(UnknownNameError, match=r"no target 'hots'.*Closest: 'host'"):
        evenfall.patch("patch", ["hots"])
    with pytest.raises(TypeError, match=r"want a list such as \['host'\]"):
        evenfall.patch("patch", "host")
    with pytest.raises(PatchError, match="targets is empty"):
        evenfall.patch("patch", [])
    with pytest.raises(PatchError, match=r"'wrong' is a int, want an evenfall.patches.Patch"):
        evenfall.patch("wrong")


def test_patches_import_no_host(site) -> None:
    done = site.run("-c", "import evenfall.patches, sys; sys.exit('torch' in sys.modules)")
    assert done.returncode == 0
    assert "site_host" not in sys.modules
