"""Installed plugins: a module and a dist-info folder on the path, made for each test."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

from evenfall import registry
from evenfall.discovery import Candidate, discover
from evenfall.entries import Registry
from evenfall.manager import PluginManager
from evenfall.registry import ALL


class Site:
    """A folder of installed distributions, and plugin managers that see that folder alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self, name: str, body: str, *, api: str = "EVENFALL_API = 1", distribution: str = ""
    ) -> str:
        """Install a distribution, `dist-<name>` unless it is given, whose module is named by the
        entry point `name`."""
        module = f"site_{name.replace('-', '_')}"
        source = f"from evenfall import hookimpl\n{api}\n\n{textwrap.dedent(body)}"
        self.write_module(module, source)
        self.write_metadata(distribution or f"dist-{name}", f"[evenfall]\n{name} = {module}\n")
        return module

    def write_module(self, module: str, source: str) -> None:
        (self.folder / f"{module}.py").write_text(source, encoding="utf-8")

    def write_metadata(self, distribution: str, entry_points: str, version: str = "1.2") -> Path:
        folder = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", encoding="utf-8"
        )
        (folder / "entry_points.txt").write_text(entry_points, encoding="utf-8")
        return folder

    def find(self, group: str) -> list[Candidate]:
        return discover(group, distributions(path=[str(self.folder)]))

    def manager(self) -> PluginManager:
        """A manager with registries of its own."""
        kinds = {kind: Registry(shared.kind) for kind, shared in ALL.items()}
        return PluginManager(kinds, self.find)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run this python in a process that has the folder on its path."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("EVENFALL")}
        path = [str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            timeout=3600,
            env={**clean, "PYTHONPATH": os.pathsep.join(path), **environment},
            check=False,
        )


@pytest.fixture(autouse=True)
def _no_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("PLUGINS", "BLOCK", "STRICT", "BACKEND", "CHECKPOINTS"):
        monkeypatch.delenv(f"EVENFALL_{variable}", raising=False)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty folder on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    yield Site(tmp_path)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def world(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The same, and `evenfall` itself sees that folder alone."""
    registry._manager.reset()
    own = PluginManager(ALL, site.find)
    monkeypatch.setattr(registry, "_manager", own)
    yield site
    own.reset()
