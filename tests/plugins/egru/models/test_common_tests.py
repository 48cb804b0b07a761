"""transformers' own common tests of models, from its source distribution on PyPI.

The sources are kept in the user's cache folder; offline and without them the test is skipped. The
oldest supported transformers gets a folder of its own, with the versions of its dependencies.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from evenfall.files import written_aside

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evenfall-tests"
OLDEST = "5.15.0"
OLD_PACKAGES = (
    f"transformers=={OLDEST}", "huggingface_hub==1.33.0", "tokenizers==0.22.2", "httpx==0.28.1",
    "httpcore==1.0.9",
)  # fmt: skip
HELPERS = ("parameterized==0.9.0",)
# The first wants a warning of transformers' own decorator for the former name of `cache`; in the
# second, PyTorch cannot draw the initial thresholds in float16.
KNOWN = ("test_bc_cache_name_forward", "test_keep_in_fp32_modules_strict_also_hardcode_fp32")
PIP = (sys.executable, "-m", "pip")


def fetch(version: str, packages: tuple[str, ...]) -> Path:
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "packages"),
    [(transformers.__version__, HELPERS), (OLDEST, (*HELPERS, *OLD_PACKAGES))],
    ids=["installed", "oldest"],
)
def test_common_tests_of_transformers_pass(
    tmp_path: Path, version: str, packages: tuple[str, ...]
) -> None:
    try:
        folder = fetch(version, packages)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"transformers {version} cannot be fetched: {error}")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    paths = [str(folder), *filter(None, sys.path)]
    command = (
        sys.executable, "-m", "pytest", "-c", str(tmp_path / "pytest.ini"), "--noconftest", "-q",
        "-p", "no:cacheprovider", "--tb=short", "-k", " and ".join(f"not {name}" for name in KNOWN),
        str(Path(__file__).with_name("common_tester.py")),
    )  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 50
