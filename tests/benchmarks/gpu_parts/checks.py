"""Every test marked gpu, by pytest: each file in a process of its own, all at once.

A kernel that breaks its process leaves the other files alone. Where pytest is not installed, as on
a GPU machine without the network, its wheels are unpacked from tests/benchmarks/wheels, which git
ignores.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zipfile import ZipFile

REPOSITORY = Path(__file__).resolve().parents[3]
WHEELS = REPOSITORY / "tests" / "benchmarks" / "wheels"
DOWNLOAD = "pip download --only-binary :all: --dest tests/benchmarks/wheels pytest"
FEW = (
    "-p", "gpu_parts.few",
    "-k", "not (forward or equal_ref or modified or strided or deterministic)",
)  # fmt: skip
"""What a dry run, where kernels are interpreted, selects: two cases of each test.

A battery runs each case five times; its test in poisoned memory looks at outputs and gradients too,
which is enough here.
"""


def gpu_tests() -> list[Path]:
    """The test files with tests marked gpu, relative to the repository."""
    found = (
        path
        for folder in ("kernels", "plugins")
        for path in (REPOSITORY / "tests" / folder).rglob("test_*.py")
        if "mark.gpu" in path.read_text(encoding="utf-8")
    )
    return sorted(path.relative_to(REPOSITORY) for path in found)


def check(left: Callable[[], float], dry: bool) -> Iterator[dict[str, Any]]:
    """A row for each file as it ends, in a dry run for all: what passed, and each failure.

    Args:
        left: the seconds until all must have ended; what runs then is cut short and has failed.
        dry: fewer of them, on the CPU where TRITON_INTERPRET=1 says so.
    """
    files = gpu_tests()
    with tempfile.TemporaryDirectory() as folder:
        extra = pytest_path(Path(folder))
        # Interpreted, a file takes less time than importing torch anew for it.
        groups = [files] if dry else [[path] for path in files]
        with ThreadPoolExecutor(min(len(groups), os.cpu_count() or 1)) as pool:
            runs = [pool.submit(_run, paths, left, dry, extra) for paths in groups]
            for done in as_completed(runs):
                yield done.result()


def pytest_path(folder: Path) -> list[str]:
    """What to add to PYTHONPATH so that pytest is found: `folder`, filled from WHEELS, or nothing.

    Raises:
        ModuleNotFoundError: pytest is not installed and WHEELS holds no wheels.
    """
    if importlib.util.find_spec("pytest") is not None:
        return []
    wheels = sorted(WHEELS.glob("*.whl"))
    if not wheels:
        raise ModuleNotFoundError(f"pytest is not installed; fetch its wheels with `{DOWNLOAD}`")
    for wheel in wheels:  # pure Python all of them: unpacked is installed
        with ZipFile(wheel) as file:
            file.extractall(folder)
    return [str(folder)]


def _run(
    files: list[Path], left: Callable[[], float], dry: bool, extra: list[str]
) -> dict[str, Any]:
    inherited = os.environ.get("PYTHONPATH")
    own = [str(Path(__file__).parents[1])] if dry else []
    paths = os.pathsep.join([*own, *extra, *([inherited] if inherited else [])])
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", *map(str, files), "-m", "gpu", "-q"]
        command += ["-p", "no:cacheprovider", f"--junitxml={report}"]
        try:
            done = subprocess.run(
                [*command, *FEW] if dry else command,
                cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": paths},
                capture_output=True, text=True, timeout=max(left(), 0.1),
            )  # fmt: skip
            found = outcome(report, done.stdout + done.stderr, files, dry)
        except subprocess.TimeoutExpired:
            found = {"passed": 0, "failed": 0, "skipped": 0, "failures": ["the time is over"]}
    seconds = time.monotonic() - begin
    names = ", ".join(path.as_posix() for path in files)
    return {"part": "checks", "file": names, **found, "seconds": seconds}


def outcome(report: Path, output: str, files: list[Path], dry: bool) -> dict[str, Any]:
    """The counts and the failures of pytest's report; the output's end where there is no report.

    A file of which no test ran has failed. In a dry run skipped tests count as run, since some of
    them need a GPU.
    """
    if not report.exists():
        end = " ".join(output.split())[-300:]
        return {"passed": 0, "failed": 0, "skipped": 0, "failures": [f"no report: {end}"]}
    cases = list(ElementTree.parse(report).iter("testcase"))
    failures, skipped, ran = [], 0, set()
    for case in cases:
        tags = {child.tag: child.get("message", "") for child in case}
        message = tags.get("failure", tags.get("error"))
        skipped += "skipped" in tags
        if dry or "skipped" not in tags:
            ran |= {path for path in files if _is_of(case, path)}
        if message is not None:
            failures.append(f"{case.get('name')}: {message}"[:300])
    passed, failed = len(cases) - len(failures) - skipped, len(failures)
    failures += [f"{path.as_posix()}: no test ran" for path in files if path not in ran]
    return {"passed": passed, "failed": failed, "skipped": skipped, "failures": failures}


def _is_of(case: ElementTree.Element, path: Path) -> bool:
    """Whether a case is of this file; its class name is the module's, with a class or without."""
    module = ".".join(path.with_suffix("").parts)
    return f"{case.get('classname')}.".startswith(f"{module}.")
