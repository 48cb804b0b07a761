"""`import eventide` is cheap, and neither it nor listing plugins imports a framework."""

from __future__ import annotations

import json

import pytest

import eventide

LOADED = "import json, sys; print(json.dumps([name for name in sys.modules if '.' not in name]))"
HEAVY = {"torch", "transformers", "numpy", "numba", "triton", "torch_geometric"}


def modules_after(site, statement: str) -> set[str]:
    done = site.run("-c", f"{statement}; {LOADED}", EVENTIDE_PLUGINS="none-of-them")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_takes_nothing_along(site) -> None:
    loaded = modules_after(site, "import eventide")
    assert not loaded & (HEAVY | {"rich", "typer", "pluggy"})


def test_registries_and_backends_need_no_framework(site) -> None:
    statement = "import eventide; eventide.registry.models.names(); eventide.plugins()"
    assert not modules_after(site, statement) & (HEAVY | {"rich", "typer"})


def test_command_line_imports_no_framework(site) -> None:
    assert not modules_after(site, "import eventide.cli.app, eventide.cli.output") & HEAVY


def test_what_plugins_share_needs_no_framework(site) -> None:
    statement = "import eventide.files, eventide.hub, eventide.recipes"
    assert not modules_after(site, statement) & (HEAVY | {"huggingface_hub", "yaml", "typer"})


def test_every_public_name_is_there() -> None:
    for name in eventide.__all__:
        assert getattr(eventide, name) is not None
    assert set(eventide.__all__) <= set(dir(eventide))


def test_unknown_attribute_lists_the_public_ones() -> None:
    with pytest.raises(AttributeError, match="no attribute 'modells'.*load_plugins"):
        eventide.modells  # noqa: B018


def test_public_names_do_not_depend_on_the_order_of_imports(site) -> None:
    statement = (
        "import eventide.backends, eventide.manager; from eventide import plugins, registry; "
        "assert callable(plugins) and registry.models.names() is not None"
    )
    assert "eventide" in modules_after(site, statement)
