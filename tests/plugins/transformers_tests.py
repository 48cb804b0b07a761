"""transformers' own common tests of models, from its source distribution on PyPI.

The sources are kept in the user's cache folder; offline and without them a test is skipped. The
oldest supported transformers gets a folder of its own, with the versions of its dependencies.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import transformers

from evenfall.files import written_aside

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evenfall-tests"
OLDEST = "5.15.0"
OLD_PACKAGES = (
    f"transformers=={OLDEST}", "huggingface_hub==1.33.0", "tokenizers==0.22.2", "httpx==0.28.1",
    "httpcore==1.0.9",
)  # fmt: skip
HELPERS = ("parameterized==0.9.0",)
BOTH_ENDS = pytest.mark.parametrize(
    ("version", "packages"),
    [(transformers.__version__, HELPERS), (OLDEST, (*HELPERS, *OLD_PACKAGES))],
    ids=["installed", "oldest"],
)
"""The installed transformers and the oldest one that is supported."""
PIP = (sys.executable, "-m", "pip")


def fetch(version: str, packages: Sequence[str]) -> Path:
    """The folder with transformers' tests of a version, and these packages beside them."""
    folder = CACHE / f"transformers-{version}"
    if folder.is_dir():
        return folder
    sdist = ("download", "--no-deps", "--no-binary", ":all:", f"transformers=={version}")
    with written_aside(folder) as aside:
        for command in (
            (*PIP, *sdist, "--dest", str(aside)),
            (*PIP, "install", "--no-deps", "--target", str(aside), *packages),
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
            if done.returncode:
                pytest.skip(f"transformers {version} cannot be fetched: {done.stderr[-200:]}")
        (archive,) = aside.glob("transformers-*.tar.gz")
        with tarfile.open(archive) as content:
            inside = [member for member in content.getmembers() if "/tests/" in member.name]
            content.extractall(aside, inside, filter="data")
        archive.unlink()
        (aside / f"transformers-{version}" / "tests").rename(aside / "transformers_tests")
    return folder


def passing(
    tester: Path,
    version: str,
    packages: Sequence[str],
    left_out: Sequence[str],
    folder: Path,
    only: str = "test",
) -> int:
    """How many tests of the file `tester` pass, in a process of its own; fails if one fails.

    Args:
        tester: imports the package `transformers_tests`; the package `tests` is this repository's.
        version: of transformers.
        packages: what pip installs beside its tests.
        left_out: names of tests that are not run.
        folder: an empty one, where the process runs.
        only: a part of the names of the tests or classes that are run.
    """
    try:
        sources = fetch(version, packages)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"transformers {version} cannot be fetched: {error}")
    (folder / "pytest.ini").write_text("[pytest]\n")
    paths = [str(sources), *filter(None, sys.path), str(REPOSITORY)]
    command = (
        sys.executable, "-m", "pytest", "-c", str(folder / "pytest.ini"), "--noconftest", "-q",
        "-p", "no:cacheprovider", "--tb=short", "-k", " and not ".join((only, *left_out)),
        str(tester),
    )  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert done.returncode == 0, done.stdout[-6000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    return int(passed[1])
