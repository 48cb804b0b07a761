"""What every test may rely on: one BLAS thread a worker, where the data sets are, and forks.

The files that take longest come first, so that no worker is left alone with one at the end.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from evenfall.testing.hub.client import Shell
    from evenfall.testing.hub.server import Hub

# Set before torch or numba is imported. Two Numba threads, so that parallel loops are truly
# parallel under test even where the machine would have given one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parent
QUIET = ("transformers", "huggingface_hub", "torch.utils._pytree")
"""The loggers that a command turns down."""
RunScript = Callable[..., int]

LONGEST = (
    "benchmarks/test_gpu.py",
    "e2e/test_wheels.py",
    "plugins/egru/training/test_run.py",
    "docs/test_docs.py",
    "plugins/egru/models/test_conformance.py",
    "benchmarks/test_stream.py",
    "e2e/test_hub_cards.py",
    "docs/test_examples.py",
    "kernels/ops/event_matmul/test_triton.py",
    "kernels/ops/selective_scan/test_triton.py",
    "plugins/egru/models/test_recording.py",
    "plugins/egru/training/test_callbacks.py",
)  # of more than about 15 seconds of processor time, longest first


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Import without garbage collections, and leave what is imported out of later ones.

    Each training run has one, of all that is in memory.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # extensions look for what is left at the end


@pytest.fixture(autouse=True)
def _loud_hosts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command makes the hosts quiet; in the next test they warn again."""
    for name in ("TRANSFORMERS_VERBOSITY", "HF_HUB_DISABLE_PROGRESS_BARS"):
        if name not in os.environ:
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
    loggers = [logging.getLogger(name) for name in QUIET]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of data sets: `$EVENFALL_DATA`, else `shared/data` beside the checkout.

    Skips the test, naming the absent folder, where there is none.
    """
    configured = os.environ.get("EVENFALL_DATA")
    folder = Path(configured) if configured else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no data sets: {folder} does not exist; set EVENFALL_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def run_script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunScript]:
    """A function that runs a script in a process of its own, in which the hosts are imported.

    It takes the script, a file for all output and the arguments, and returns the exit status.
    """
    modules = tmp_path_factory.mktemp("modules")  # of folders that come with code
    environment = {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(modules), "MPLBACKEND": "agg"}
    with subprocess.Popen(
        [sys.executable, str(TESTS / "forks.py")],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as runner:
        requests, answers = runner.stdin, runner.stdout
        assert requests is not None
        assert answers is not None

        def run(script: Path, output: Path, *arguments: str | Path) -> int:
            request = [str(script), str(output), [str(one) for one in arguments]]
            print(json.dumps(request), file=requests, flush=True)
            return int(answers.readline())

        yield run
        print(file=requests, flush=True)  # a fork of pytest may hold the pipe open


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hugging Face Hub of this machine, and two tokens of the user ann: one may write."""
    from evenfall.testing.hub.server import serve

    with serve() as running:
        running.store.tokens = {"hf_ann": ("ann", True), "hf_reader": ("ann", False)}
        yield running


@pytest.fixture
def shell(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Runs `evenfall checkpoints` against that Hub."""
    from evenfall.testing.hub.client import Shell

    return Shell(hub, tmp_path / "home", monkeypatch)
