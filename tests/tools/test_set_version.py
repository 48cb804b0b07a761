"""All distributions move to a new version together."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from set_version import changed_texts, current_version, project_files, source_files


def test_every_distribution_has_the_version_of_the_umbrella() -> None:
    version = current_version(ROOT)
    stated = [
        match[1]
        for file in [*project_files(ROOT), *source_files(ROOT)]
        for match in re.finditer(r'^(?:__)?version(?:__)? = "(.+)"$', file.read_text(), re.M)
    ]
    assert len(project_files(ROOT)) == 9
    assert stated
    assert set(stated) == {version}


def test_a_new_version_reaches_every_file_that_states_one() -> None:
    old = current_version(ROOT)
    texts = changed_texts(ROOT, "7.3.0", "2031-02-03")
    for file, text in texts.items():
        if file.name not in ("README.md", "CHANGELOG.md"):
            assert not re.search(rf'"{re.escape(old)}"|version: {re.escape(old)}', text), file
    assert "## [Unreleased]\n\n## [7.3.0] - 2031-02-03\n" in texts[ROOT / "CHANGELOG.md"]
    assert '"evenfall-core==7.3.*"' in texts[ROOT / "pyproject.toml"]
    assert (
        '"evenfall-core[graph]>=7.3,<7.4"'
        in texts[ROOT / "plugins" / "spinnaker2" / "pyproject.toml"]
    )
    assert "\nversion: 7.3.0\n" in texts[ROOT / "CITATION.cff"]


@pytest.mark.parametrize("version", ["", "1", "v0.2.0", "0.2.0.dev1", "01.0.0", "0.2.0\n"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match="VERSION must be a new version such as"):
        changed_texts(ROOT, version, "2031-02-03")


def test_the_current_version_is_not_new() -> None:
    with pytest.raises(ValueError, match="must be a new version"):
        changed_texts(ROOT, current_version(ROOT), "2031-02-03")
