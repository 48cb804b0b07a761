"""compiled: machine code on disk is recompiled if a source changes or the file is damaged."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evenfall import machine_code
from evenfall_kernels.cpu import compiled as module

PART = "from numba import njit\n\n@njit\ndef part(x):\n    return x + {}\n"
LOOPS = """
from copy_of_kernels.cpu.compiled import compiled
from copy_of_kernels.ops.scan.part import part as theirs
from plugin_of_a_test.part import part as ours

@compiled()
def outer(x):
    return theirs(x) + ours(x)
"""
Fresh = Callable[[], tuple[int, int]]


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fresh]:
    """Reload as in a new process: outer(0), and how many functions came from the disk."""
    kernels, plugin = tmp_path / "copy_of_kernels", tmp_path / "plugin_of_a_test"
    for folder in (kernels, kernels / "cpu", kernels / "ops", kernels / "ops" / "scan", plugin):
        folder.mkdir()
        (folder / "__init__.py").touch()
    shutil.copyfile(module.__file__, kernels / "cpu" / "compiled.py")
    (kernels / "ops" / "scan" / "part.py").write_text(PART.format(1))
    (plugin / "part.py").write_text(PART.format(10))
    (plugin / "loops").mkdir()
    (plugin / "loops" / "__init__.py").write_text(LOOPS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a source changes twice in one second
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)

    def forget() -> None:
        for name in [*sys.modules]:
            if name.partition(".")[0] in (kernels.name, plugin.name):
                del sys.modules[name]
        for known in (machine_code._version, machine_code._digest):  # of this process
            known.cache_clear()

    def run() -> tuple[int, int]:
        forget()
        outer = importlib.import_module("plugin_of_a_test.loops").outer
        return outer(0), sum(outer.stats.cache_hits.values())

    yield run
    forget()


def test_a_change_in_any_operation_recompiles(fresh: Fresh, tmp_path: Path) -> None:
    assert [fresh(), fresh()] == [(11, 0), (11, 1)]
    (tmp_path / "copy_of_kernels" / "ops" / "scan" / "part.py").write_text(PART.format(5))
    assert [fresh(), fresh()] == [(15, 0), (15, 1)]


def test_a_change_in_the_package_of_the_function_recompiles(fresh: Fresh, tmp_path: Path) -> None:
    assert [fresh(), fresh()] == [(11, 0), (11, 1)]
    (tmp_path / "plugin_of_a_test" / "part.py").write_text(PART.format(50))
    assert [fresh(), fresh()] == [(51, 0), (51, 1)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: b"not machine code at all, and longer than a digest is",
    ],
    ids=["empty", "truncated", "one bit", "text"],
)
@pytest.mark.filterwarnings("error")
def test_a_damaged_file_is_replaced(
    fresh: Fresh, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    assert fresh() == (11, 0)
    (file,) = tmp_path.rglob("*.nbc")
    file.write_bytes(damage(file.read_bytes()))
    assert [fresh(), fresh()] == [(11, 0), (11, 1)]
    assert [*tmp_path.rglob("*.nbc")] == [file]


def test_nothing_is_written_beside_the_sources(fresh: Fresh, tmp_path: Path) -> None:
    """Uninstalling would leave it, and Python imports a folder without sources, too."""
    assert [fresh(), fresh()] == [(11, 0), (11, 1)]
    (file,) = tmp_path.rglob("*.nbc")
    folder = tmp_path / "cache" / "evenfall" / "machine-code"
    assert file.parent.parent.parent == folder
    assert file.parent.parent.name.startswith("plugin_of_a_test-")
    assert file.parent.name == "loops"  # other folders may have a function of this name
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".py", ".nbc"}


def test_equal_sources_elsewhere_share_machine_code(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fresh() == (11, 0)
    (tmp_path / "elsewhere").mkdir()
    for name in ("copy_of_kernels", "plugin_of_a_test"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    assert fresh() == (11, 1)


def test_numba_s_variable_moves_the_cache(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "mine"))
    assert [fresh(), fresh()] == [(11, 0), (11, 1)]
    (file,) = tmp_path.rglob("*.nbc")
    assert file.is_relative_to(tmp_path / "mine")


def test_runs_without_a_writable_folder(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, content: bytes) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        assert fresh() == (11, 0)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert [fresh(), fresh()] == [(11, 0), (11, 0)]
    assert module.compiled()(eval("lambda x: x + 1"))(1) == 2  # a function of no file


def test_no_function_uses_another_cache() -> None:
    repository = Path(__file__).resolve().parents[3]
    sources = [*repository.glob("kernels/src/**/*.py"), *repository.glob("plugins/*/src/**/*.py")]
    others = [
        str(file.relative_to(repository))
        for file in sources
        if file.name != "compiled.py"
        and re.search(r"""\bcache=True|["']cache["']: True""", file.read_text(encoding="utf-8"))
    ]
    assert not others, "decorate with evenfall_kernels.cpu.compiled.compiled"
