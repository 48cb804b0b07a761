"""compiled: machine code on disk is as fresh as every source, and no folder is needed for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numba
import pytest
from numba.core.caching import CompileResultCacheImpl

from evenfall_kernels.cpu import compiled as module

CALLER = "from inlined import part\n\ndef outer(x):\n    return part(x)\n"
INLINED = "from numba import njit\n\n@njit\ndef part(x):\n    return x + {}\n"


def _result(folder: Path, monkeypatch: pytest.MonkeyPatch, constant: int) -> tuple[int, int]:
    """What a fresh process would get, and how often it took machine code from the disk."""
    (folder / "inlined.py").write_text(INLINED.format(constant))
    (folder / "caller.py").write_text(CALLER)
    monkeypatch.setattr(module, "_FOLDER", folder)
    module._sources.cache_clear()
    names: dict[str, Any] = {"__name__": "caller", "__file__": str(folder / "caller.py")}
    inner: dict[str, Any] = {"__name__": "inlined"}
    exec(compile(INLINED.format(constant), str(folder / "inlined.py"), "exec"), inner)
    code = CALLER.partition("\n")[2]
    exec(compile("\n" + code, str(folder / "caller.py"), "exec"), names | inner, names)
    function = names["outer"]
    function.__globals__["part"] = inner["part"]
    fast = module.compiled()(function)
    return fast(1), sum(fast.stats.cache_hits.values())


def test_a_change_of_an_inlined_file_compiles_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _result(tmp_path, monkeypatch, 1) == (2, 0)
    assert _result(tmp_path, monkeypatch, 1) == (2, 1)
    assert _result(tmp_path, monkeypatch, 5) == (6, 0)


def test_runs_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(lambda x: x)  # what Numba itself does there
    assert module.compiled()(lambda x: x + 1)(1) == 2


def test_no_function_is_kept_in_another_way() -> None:
    repository = Path(__file__).resolve().parents[3]
    sources = [*repository.glob("kernels/src/**/*.py"), *repository.glob("plugins/*/src/**/*.py")]
    others = [
        str(file.relative_to(repository))
        for file in sources
        if file.name != "compiled.py"
        and re.search(r"""\bcache=True|["']cache["']: True""", file.read_text(encoding="utf-8"))
    ]
    assert not others, "decorate with evenfall_kernels.cpu.compiled.compiled"
