"""`evenfall plugins --check` finds nothing wrong with Evenfall's own plugins."""

from __future__ import annotations

import pytest

from evenfall import registry
from evenfall.conformance import check_plugin

PLUGINS = ("blocklocal", "egru", "kernels", "mamba", "sparsity", "spinnaker2", "stream")


@pytest.mark.parametrize("name", PLUGINS)
def test_everything_that_a_plugin_registers_is_of_its_kind(name: str) -> None:
    if name not in {row.name for row in registry.plugins()}:
        pytest.skip(f"the plugin {name} is not installed")
    findings = check_plugin(name)
    absent = [one for one in findings if one.level == "warning" and "ModuleNotFound" in one.detail]
    assert [one for one in findings if one.level != "ok" and one not in absent] == []
