"""Stand-ins: they replace only missing modules, and are removed completely."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from evenfall.errors import PatchError, ReferenceImportError
from evenfall.patches import Change, PatchHandle, Target
from evenfall.standins import StandIns

MODULES = {"site_gone": "site_ours", "site_gone.part": "site_ours.part"}


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {
        "site_ours/__init__.py": "VALUE = 1",
        "site_ours/part.py": "VALUE = 2",
        "site_needy/__init__.py": "from site_needy import early\nfrom site_gone.part import VALUE",
        "site_needy/early.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("site_")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def ours() -> dict[str, ModuleType]:
    return {n: m for n, m in sys.modules.items() if n.startswith(("site_gone", "site_needy"))}


def test_host_is_importable_with_stand_ins_and_again_later() -> None:
    stand_ins = StandIns(MODULES, ("site_needy",))
    with pytest.raises(ModuleNotFoundError, match="site_gone"):
        importlib.import_module("site_needy")
    left = ours()  # what a failed import leaves behind is not ours to clear
    assert "site_needy.early" in left
    stand_ins.place("here")
    assert stand_ins.placed == ("site_gone", "site_gone.part")
    host = importlib.import_module("site_needy")
    assert host.VALUE == 2
    assert importlib.util.find_spec("site_gone") is not None
    stand_ins.remove()
    assert ours() == left
    assert stand_ins.placed == ()
    stand_ins.place("here")
    assert importlib.import_module("site_needy") is host
    stand_ins.remove()
    assert ours() == left


def test_installed_module_is_not_replaced(site: Path) -> None:
    (site / "site_gone.py").write_text("VALUE = 3\n")
    stand_ins = StandIns(MODULES, ("site_needy",))
    stand_ins.place("here")
    assert stand_ins.placed == ()
    real = importlib.import_module("site_gone")
    assert real.VALUE == 3
    stand_ins.remove()
    assert sys.modules["site_gone"] is real


def test_replaced_stand_in_is_found() -> None:
    stand_ins = StandIns(MODULES, ())
    stand_ins.place("here")
    stand_ins.check("patch 'p'")
    placed = sys.modules["site_gone"]
    sys.modules["site_gone"] = ModuleType("site_gone")
    with pytest.raises(
        PatchError, match=r"'p' cannot be reverted: other code has replaced sys.modules\['site_gone"
    ):
        stand_ins.check("patch 'p'")
    sys.modules["site_gone"] = placed
    stand_ins.remove()
    assert ours() == {}


def test_broken_stand_in_places_nothing() -> None:
    stand_ins = StandIns({**MODULES, "site_gone.more": "site_ours.more"}, ())
    with pytest.raises(ReferenceImportError, match=r"here: cannot import 'site_ours.more'"):
        stand_ins.place("here")
    assert ours() == {}
    assert stand_ins.placed == ()


def handle(attribute: str) -> PatchHandle:
    change = Change("site_needy", attribute, lambda original: original + 10)
    stand_ins = StandIns(MODULES, ("site_needy",))
    return PatchHandle("p", {"needy": Target("pytest", ">=1", (change,), stand_ins)})


def test_patch_of_a_host_that_needs_them() -> None:
    with handle("VALUE") as patched:
        assert importlib.import_module("site_needy").VALUE == 12
        assert patched.stand_ins == ("site_gone", "site_gone.part")
        placed = sys.modules.pop("site_gone")
        with pytest.raises(PatchError, match="other code has replaced"):
            patched.revert()
        assert patched.applied
        assert importlib.import_module("site_needy").VALUE == 12
        sys.modules["site_gone"] = placed
    assert ours() == {}
    assert patched.stand_ins == ()


def test_refused_patch_leaves_no_stand_in() -> None:
    patched = handle("VALUES")
    with pytest.raises(PatchError, match=r"site_needy.VALUES does not exist"):
        patched.apply()
    assert ours() == {}
    assert not patched.applied
