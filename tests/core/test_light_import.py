"""A plugin's module is imported without its package."""

from __future__ import annotations

import importlib
import sys

import pytest

from evenfall.light import import_alone, import_before_package

PLUGIN = """
from __future__ import annotations
from dataclasses import dataclass, field
from typing import ClassVar
from evenfall import hookimpl

EVENFALL_API = 1

@dataclass
class Uses:
    own: ClassVar[int] = 1
    names: list[str] = field(default_factory=list)

class Hooks:
    EVENFALL_API = 1

    @hookimpl
    def evenfall_register_models(self, register):
        register("nested", "site_package:VALUE")

hooks = Hooks()
"""


@pytest.fixture
def package(site):
    """A package `site_package.inner.plugin` whose outer `__init__` sets VALUE."""
    inner = site.folder / "site_package" / "inner"
    inner.mkdir(parents=True)
    (inner.parent / "__init__.py").write_text("VALUE = 7\n", encoding="utf-8")
    (inner / "__init__.py").touch()
    (inner / "plugin.py").write_text(PLUGIN, encoding="utf-8")
    return site


def test_package_is_not_run(package) -> None:
    module = import_alone("site_package.inner.plugin")
    assert module.__name__ == "site_package.inner.plugin"
    assert not [name for name in sys.modules if name.startswith("site_package")]


def test_later_import_is_an_ordinary_one(package) -> None:
    import_alone("site_package.inner.plugin")
    outer = importlib.import_module("site_package.inner.plugin")
    assert sys.modules["site_package"].inner.plugin is outer
    assert import_alone("site_package.inner.plugin") is outer


def test_missing_module_raises_what_an_import_raises(package) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"site_package.inner.plugn"):
        import_alone("site_package.inner.plugn")
    with pytest.raises(ModuleNotFoundError, match="site_nowhere"):
        import_alone("site_nowhere.plugin")


def test_module_that_fails_leaves_nothing(package) -> None:
    (package.folder / "site_package" / "bad.py").write_text("1 / 0\n", encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        import_alone("site_package.bad")
    assert "site_package.bad" not in sys.modules


def test_plugin_may_be_an_object_in_a_package(package) -> None:
    package.write_metadata("dist-nested", "[evenfall]\nnested = site_package.inner.plugin:hooks\n")
    manager = package.manager()
    (row,) = manager.statuses()
    assert (row.status, row.provides) == ("ok", {"models": ["nested"]})
    assert "site_package" not in sys.modules


def test_references_are_imported_with_their_package(package, world) -> None:
    from evenfall import registry

    package.write_metadata("dist-nested", "[evenfall]\nnested = site_package.inner.plugin:hooks\n")
    assert registry.models.get("nested") == 7


def test_module_is_imported_before_its_packages_run(package) -> None:
    commands = package.folder / "site_package" / "inner" / "commands"
    commands.mkdir()
    (commands / "__init__.py").write_text("from . import one\n", encoding="utf-8")
    (commands / "one.py").write_text("from ..names import NAME\n", encoding="utf-8")
    (commands.parent / "names.py").write_text("NAME = 'leaky'\n", encoding="utf-8")
    module = import_before_package("site_package.inner.commands")
    assert module.one.NAME == "leaky"
    assert not [name for name in sys.modules if name.startswith("site_package")]
    later = importlib.import_module("site_package.inner.commands")
    assert later is not module
    assert sys.modules["site_package"].VALUE == 7
    assert import_before_package("site_package.inner.commands") is later


@pytest.mark.parametrize(
    "asks", ["from site_package import VALUE", "from .. import inner; VALUE = inner.VALUE"]
)
def test_package_runs_when_a_name_of_it_is_asked_for(package, asks: str) -> None:
    inner = package.folder / "site_package" / "inner"
    (inner / "__init__.py").write_text("from site_package import VALUE\n", encoding="utf-8")
    (inner / "commands.py").write_text(f"{asks}\n", encoding="utf-8")
    module = import_before_package("site_package.inner.commands")
    assert module.VALUE == 7
    assert sys.modules["site_package.inner.commands"] is module
    for name in ("site_package", "site_package.inner"):
        assert type(sys.modules[name]) is type(sys)
    assert importlib.import_module("site_package").VALUE == 7


def test_module_that_fails_before_its_package_leaves_nothing(package) -> None:
    (package.folder / "site_package" / "bad.py").write_text("1 / 0\n", encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        import_before_package("site_package.bad")
    with pytest.raises(ModuleNotFoundError, match=r"site_package.absent"):
        import_before_package("site_package.absent")
    assert not [name for name in sys.modules if name.startswith("site_package")]
    with pytest.raises(ModuleNotFoundError, match="site_nowhere"):
        import_before_package("site_nowhere.plugin")
