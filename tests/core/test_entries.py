"""Registry entries: names, lazy references, owners, error messages."""

from __future__ import annotations

import sys
import threading
import tomllib
from pathlib import Path

import pytest

from evenfall.entries import Registry
from evenfall.errors import ReferenceImportError, RegistryError, UnknownNameError
from evenfall.owners import CORE, OWN_PLUGINS, Owner

EGRU = Owner("egru", "evenfall-egru", "0.1.0")
OTHER = Owner("other", "dist-other", "2.0")


@pytest.fixture
def registry() -> Registry[object]:
    made: Registry[object] = Registry("model")
    made.add("egru", "fractions:Fraction", EGRU, summary="a gated unit", host="transformers")
    return made


def test_get_imports_the_reference(registry: Registry[object]) -> None:
    from fractions import Fraction

    assert registry.get("egru") is Fraction


def test_reference_may_name_an_attribute_of_a_class(registry: Registry[object]) -> None:
    registry.add("nested", "fractions:Fraction.from_float", EGRU)
    from fractions import Fraction

    assert registry.get("nested") == Fraction.from_float


def test_reference_may_be_a_whole_module(registry: Registry[object]) -> None:
    import json.decoder

    registry.add("module", "json.decoder", EGRU)
    assert registry.get("module") is json.decoder


def test_nothing_is_imported_before_get(site) -> None:
    site.write_module("site_lazy", "VALUE = 7\n")
    registry: Registry[int] = Registry("model")
    registry.add("lazy", "site_lazy:VALUE", EGRU)
    registry.provenance("lazy")
    assert "site_lazy" not in sys.modules
    assert registry.get("lazy") == 7


def test_provenance_says_who_registered_what(registry: Registry[object]) -> None:
    assert registry.provenance("egru").as_dict() == {
        "name": "egru",
        "reference": "fractions:Fraction",
        "plugin": "egru",
        "distribution": "evenfall-egru",
        "version": "0.1.0",
        "metadata": {"summary": "a gated unit", "host": "transformers"},
    }


def test_names_are_sorted_and_counted(registry: Registry[object]) -> None:
    registry.add("ant", "fractions:Fraction", OTHER)
    assert registry.names() == ["ant", "egru"] == list(registry)
    assert len(registry) == 2
    assert "ant" in registry
    assert "bee" not in registry
    assert repr(registry) == "Registry('model', ['ant', 'egru'])"


def test_duplicate_names_both_owners(registry: Registry[object]) -> None:
    with pytest.raises(RegistryError) as error:
        registry.add("egru", "json:loads", OTHER)
    for word in ("evenfall-egru 0.1.0", "dist-other 2.0", "fractions:Fraction", "json:loads"):
        assert word in str(error.value)
    assert registry.provenance("egru").owner == EGRU


def test_claim_of_a_registered_name_waits_behind_its_owner(registry: Registry[object]) -> None:
    registry.claim("egru", "json:loads", OTHER)
    assert registry.provenance("egru").owner == EGRU
    assert (registry.owned_by(OTHER), len(registry.conflicts(OTHER))) == ([], 1)
    assert registry.conflicts(EGRU) == []
    registry.remove_owner(EGRU)
    assert registry.provenance("egru").owner == OTHER
    assert registry.conflicts(OTHER) == []
    registry.claim("egru", "json:dumps", EGRU)
    assert registry.provenance("egru").reference == "json:dumps"
    assert registry.remove_owner(OTHER) == ["egru"]


def test_claim_of_a_name_of_the_core_fails(registry: Registry[object]) -> None:
    registry.add("other-thing", "json:loads", Owner("core", CORE, "0.1.0"))
    registry.claim("other-thing", "json:dumps", OTHER)
    assert registry.provenance("other-thing").owner.name == "core"


def test_reserved_name_is_refused() -> None:
    registry: Registry[object] = Registry("command", reserved=frozenset({"doctor"}))
    with pytest.raises(RegistryError, match="'doctor' is built into evenfall-core"):
        registry.add("doctor", "json:loads", EGRU)


@pytest.mark.parametrize("reference", ["json:", ":loads", "json.loads:", "a b:c", 3, None])
def test_malformed_reference_is_refused(registry: Registry[object], reference: object) -> None:
    with pytest.raises(RegistryError, match=r"want .package.module:Name."):
        registry.add("bad", reference, EGRU)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "  ", None, 3])
def test_malformed_name_is_refused(registry: Registry[object], name: object) -> None:
    with pytest.raises(RegistryError, match="want a non-empty string"):
        registry.add(name, "json:loads", EGRU)  # type: ignore[arg-type]


def test_metadata_must_be_jsonable(registry: Registry[object]) -> None:
    with pytest.raises(RegistryError, match="JSON-able"):
        registry.add("bad", "json:loads", EGRU, host=object())


def test_unknown_name_gets_the_closest(registry: Registry[object]) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown model 'Egrru'.*Closest: 'egru'"):
        registry.get("Egrru")


def test_unknown_name_in_an_empty_registry_asks_for_the_plugin() -> None:
    with pytest.raises(UnknownNameError, match="No layer is registered"):
        Registry("layer").get("anything")


def test_unknown_name_of_a_broken_plugin_names_it(registry: Registry[object]) -> None:
    registry.record_failure(OTHER, "it is broken: no numba", ["wasp"])
    with pytest.raises(
        UnknownNameError, match=r"'other' \(dist-other 2.0\) would provide it, .*no numba"
    ):
        registry.get("wasp")


@pytest.mark.parametrize("name", ["other-large", "othr"])
def test_unknown_name_that_resembles_a_broken_plugin_names_it(
    registry: Registry[object], name: str
) -> None:
    registry.record_failure(OTHER, "it is broken: no numba", [])
    with pytest.raises(UnknownNameError, match="may provide it, but it is broken: no numba"):
        registry.get(name)


@pytest.mark.parametrize(
    ("reference", "cause"),
    [
        ("site_missing:Thing", "ModuleNotFoundError"),
        ("json:no_such_name", "AttributeError"),
        ("site_raises:Thing", "ZeroDivisionError"),
        ("site_exits:Thing", "exits when it is imported"),
    ],
)
def test_reference_that_fails_names_everything(site, reference: str, cause: str) -> None:
    site.write_module("site_raises", "1 / 0\n")
    site.write_module("site_exits", "raise SystemExit(3)\n")
    registry: Registry[object] = Registry("model")
    registry.add("thing", reference, EGRU)
    with pytest.raises(ReferenceImportError) as error:
        registry.get("thing")
    for word in ("'thing'", reference, "'egru'", "evenfall-egru", cause):
        assert word in str(error.value)
    assert error.value.__cause__ is not None


def test_remove_owner_takes_back_its_names_alone(registry: Registry[object]) -> None:
    registry.add("ant", "json:loads", OTHER)
    registry.add("bee", "json:dumps", OTHER)
    before = registry.generation
    assert registry.owned_by(OTHER) == ["ant", "bee"] == registry.remove_owner(OTHER)
    assert registry.names() == ["egru"]
    assert registry.generation > before


def test_owner_may_be_a_plain_name() -> None:
    registry: Registry[object] = Registry("model")
    registry.add("a", "json:loads", "me")
    assert registry.provenance("a").owner == Owner("me")


def test_reading_prepares_first() -> None:
    calls: list[str] = []
    registry: Registry[object] = Registry("model", lambda: calls.append("prepared"))
    registry.names()
    registry.entries()
    assert calls == ["prepared", "prepared"]


def test_only_one_thread_wins_a_name() -> None:
    registry: Registry[object] = Registry("model")
    refused: list[int] = []
    start = threading.Barrier(8)

    def add(number: int) -> None:
        start.wait()
        try:
            registry.add("one", "json:loads", Owner(str(number)))
        except RegistryError:
            refused.append(number)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert registry.names() == ["one"]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_metadata_that_json_lacks_is_refused(number: float) -> None:
    with pytest.raises(RegistryError, match="want JSON-able values"):
        Registry("layer").add("a", "json:loads", "x", score=number)


@pytest.mark.parametrize("summary", [3, ["a"], "", " ", "a\nb", "a\x1b[31mb"])
def test_what_tables_show_is_one_line_of_text(summary: object) -> None:
    with pytest.raises(RegistryError, match=r"metadata summary of layer 'a': got .* one line"):
        Registry("layer").add("a", "json:loads", "x", summary=summary)
    with pytest.raises(RegistryError, match="metadata host of layer 'a'"):
        Registry("layer").add("a", "json:loads", "x", host=summary)
    with pytest.raises(RegistryError, match=r"metadata folder of checkpoint 'a'.* one line"):
        Registry("checkpoint").add("a", "json:loads", "x", folder=summary, hub_id=None)
    with pytest.raises(RegistryError, match=r"model_types of checkpoint 'a'.* a list of names"):
        Registry("checkpoint").add("a", "json:loads", "x", model_types={"a": summary})


def test_metadata_without_a_form_in_utf_8_is_refused() -> None:
    with pytest.raises(RegistryError, match=r"want JSON-able values .*surrogates not allowed"):
        Registry("layer").add("a", "json:loads", "x", note=["\ud800"])


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\nb", "a\u202eb"])
def test_name_with_control_characters_is_refused(name: str) -> None:
    with pytest.raises(RegistryError, match="printable"):
        Registry("layer").add(name, "json:loads", "x")


def test_own_plugins_are_those_of_the_project() -> None:
    root = Path(__file__).parents[2]
    files = [root / "kernels" / "pyproject.toml", *root.glob("plugins/*/pyproject.toml")]
    projects = [tomllib.loads(file.read_text(encoding="utf-8"))["project"] for file in files]
    assert {project["name"] for project in projects} == OWN_PLUGINS
