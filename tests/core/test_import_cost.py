"""`import evenfall` is quick, and neither it nor listing plugins imports a framework."""

from __future__ import annotations

import json

import pytest

import evenfall

LOADED = "import json, sys; print(json.dumps([name for name in sys.modules if '.' not in name]))"
HEAVY = {"torch", "transformers", "numpy", "numba", "triton", "torch_geometric"}


def modules_after(site, statement: str) -> set[str]:
    done = site.run("-c", f"{statement}; {LOADED}", EVENFALL_PLUGINS="none-of-them")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_loads_no_framework(site) -> None:
    loaded = modules_after(site, "import evenfall")
    assert not loaded & (HEAVY | {"rich", "typer", "pluggy"})


def test_registries_and_backends_need_no_framework(site) -> None:
    statement = "import evenfall; evenfall.registry.models.names(); evenfall.plugins()"
    assert not modules_after(site, statement) & (HEAVY | {"rich", "typer"})


def test_command_line_imports_no_framework(site) -> None:
    assert not modules_after(site, "import evenfall.cli.app, evenfall.cli.output") & HEAVY


def test_shared_modules_need_no_framework(site) -> None:
    statement = (
        "import evenfall.files, evenfall.hub, evenfall.pictures, evenfall.recipes, evenfall.runs, "
        "evenfall.counting, evenfall.datasets, evenfall.trainers, evenfall.patches"
    )
    assert not modules_after(site, statement) & (HEAVY | {"huggingface_hub", "yaml", "typer"})


def test_every_public_name_is_there() -> None:
    for name in evenfall.__all__:
        assert getattr(evenfall, name) is not None
    assert set(evenfall.__all__) <= set(dir(evenfall))


def test_unknown_attribute_lists_the_public_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'modells'.*load_plugins"):
        evenfall.modells  # noqa: B018


def test_public_names_do_not_depend_on_the_order_of_imports(site) -> None:
    statement = (
        "import evenfall.backends, evenfall.manager; from evenfall import plugins, registry; "
        "assert callable(plugins) and registry.models.names() is not None"
    )
    assert "evenfall" in modules_after(site, statement)
