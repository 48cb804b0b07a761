"""The site can be searched when it is opened from the disk, and leads to the repository."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
SHIM = REPOSITORY / "docs" / "javascripts" / "iframe-worker.js"


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))


def test_search_needs_no_server_and_no_network(settings: dict[str, Any]) -> None:
    assert settings["plugins"][:2] == ["search", "offline"]
    assert settings["use_directory_urls"] is False
    # Without this name, the plugin loads a script from the network.
    assert settings["extra"]["polyfills"] == ["javascripts/iframe-worker.js"]
    assert SHIM.is_file()
    assert settings["theme"]["font"] is False


def test_pages_lead_to_the_repository_and_the_changes(settings: dict[str, Any]) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert settings["repo_url"] == project["urls"]["Repository"]
    assert settings["edit_uri"] == "edit/main/docs/"
    assert "content.action.edit" in settings["theme"]["features"]
    page = (REPOSITORY / "docs" / "changelog.md").read_text(encoding="utf-8")
    assert '--8<-- "CHANGELOG.md:changes"' in page
    changes = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert changes.count("--8<-- [start:changes]") == 1


PAGE = """<!doctype html><html><head><script src="iframe-worker.js"></script><script>
const worker = new Worker("worker.js")
worker.addEventListener("message", (event) => { document.title = event.data })
worker.postMessage("early")
setTimeout(() => worker.postMessage("late"), 300)
</script></head><body></body></html>"""
WORKER = """
const seen = []
addEventListener("message", async (event) => {
  await importScripts("more.js")
  seen.push(event.data + more)
  postMessage(seen.join(" "))
})
"""


def test_a_page_from_the_disk_can_use_a_worker(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium to open a page with")
    shutil.copyfile(SHIM, tmp_path / SHIM.name)
    for name, text in (("page.html", PAGE), ("worker.js", WORKER), ("more.js", "more = '!'")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000")
    shown = subprocess.run(
        [browser, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         (tmp_path / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=3600,
    ).stdout  # fmt: skip
    assert "<title>early! late!</title>" in shown
