"""EVENFALL_PLUGINS, EVENFALL_BLOCK and EVENFALL_STRICT."""

from __future__ import annotations

import pytest

from evenfall.entries import Registry
from evenfall.errors import PluginError, UnknownNameError
from evenfall.manager import PluginManager
from evenfall.switches import is_strict

TOUCH = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\n"


def statuses(manager: PluginManager) -> dict[str, str]:
    return {row.name: row.status for row in manager.statuses()}


def messages(manager: PluginManager) -> str:
    return "\n".join(row.message for row in manager.statuses())


def test_block_leaves_a_plugin_unimported(site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("one", TOUCH)
    site.install("two", TOUCH)
    monkeypatch.setenv("EVENFALL_BLOCK", " one , ")
    manager = site.manager()
    assert statuses(manager) == {"one": "blocked", "two": "ok"}
    assert "EVENFALL_BLOCK lists it" in messages(manager)
    assert [path.stem for path in site.folder.glob("*.ran")] == ["site_two"]


def test_block_turns_a_broken_plugin_off(site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("bad", "1 / 0")
    monkeypatch.setenv("EVENFALL_BLOCK", "bad")
    monkeypatch.setenv("EVENFALL_STRICT", "1")
    assert statuses(site.manager()) == {"bad": "blocked"}


def test_allow_list_loads_those_alone(site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("one", TOUCH)
    site.install("two", TOUCH)
    monkeypatch.setenv("EVENFALL_PLUGINS", "two")
    manager = site.manager()
    assert statuses(manager) == {"one": "blocked", "two": "ok"}
    assert "EVENFALL_PLUGINS does not list it" in messages(manager)


def test_block_wins_over_the_allow_list(site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("one", "")
    monkeypatch.setenv("EVENFALL_PLUGINS", "one")
    monkeypatch.setenv("EVENFALL_BLOCK", "one")
    assert statuses(site.manager()) == {"one": "blocked"}


def test_empty_variables_count_as_unset(site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("one", "")
    monkeypatch.setenv("EVENFALL_PLUGINS", "")
    monkeypatch.setenv("EVENFALL_BLOCK", "")
    assert statuses(site.manager()) == {"one": "ok"}


@pytest.mark.parametrize(
    ("variable", "status"), [("EVENFALL_PLUGINS", "broken"), ("EVENFALL_BLOCK", "blocked")]
)
def test_name_that_is_not_installed_is_a_row(
    site, monkeypatch: pytest.MonkeyPatch, variable: str, status: str
) -> None:
    site.install("mamba", "")
    monkeypatch.setenv(variable, "manba")
    manager = site.manager()
    assert statuses(manager)["manba"] == status
    assert f"{variable} lists 'manba', which is not installed. Closest: 'mamba'" in messages(
        manager
    )


def test_blocked_plugin_is_named_when_its_name_is_asked_for(
    site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("egru", "")
    monkeypatch.setenv("EVENFALL_BLOCK", "egru")
    models: Registry[object] = Registry("model")
    PluginManager({"models": models}, site.find).load()
    with pytest.raises(UnknownNameError, match="it is blocked: EVENFALL_BLOCK lists it"):
        models.get("egru-small")


def test_strict_raises_one_error_with_its_cause(site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("bad", "1 / 0")
    site.install("worse", "raise ValueError('boom')")
    monkeypatch.setenv("EVENFALL_STRICT", "1")
    manager = site.manager()
    with pytest.raises(PluginError) as error:
        manager.load()
    for word in ("2 plugin(s) broken", "ZeroDivisionError", "boom", "EVENFALL_BLOCK=bad"):
        assert word in str(error.value)
    assert isinstance(error.value.__cause__, ZeroDivisionError)
    with pytest.raises(PluginError):
        manager.load()


def test_strict_raises_where_names_clash(site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        hook = "@hookimpl\ndef evenfall_register_models(register): "
        site.install(name, f"{hook}register('m', 'json:loads')")
    monkeypatch.setenv("EVENFALL_STRICT", "1")
    with pytest.raises(PluginError) as error:
        site.manager().load()
    for word in ("1 plugin(s) with conflicting names", "two (dist-two)", "belongs to plugin 'one'"):
        assert word in str(error.value)


@pytest.mark.parametrize("value", ["", "0", "false", "No", " off "])
def test_strict_can_be_off(value: str) -> None:
    assert not is_strict({"EVENFALL_STRICT": value})


@pytest.mark.parametrize("value", ["1", "true", "Yes", " on "])
def test_strict_can_be_on(value: str) -> None:
    assert is_strict({"EVENFALL_STRICT": value})
    assert not is_strict({})


@pytest.mark.parametrize("value", ["maybe", "2", "tru"])
def test_strict_is_on_or_off(site, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    site.install("one", "")
    monkeypatch.setenv("EVENFALL_STRICT", value)
    with pytest.raises(PluginError, match=f"EVENFALL_STRICT must be one of 1, .* got '{value}'"):
        site.manager().load()
