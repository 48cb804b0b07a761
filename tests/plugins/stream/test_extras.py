"""What works without the extras, and the errors if one is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch_geometric")

from evenfall_stream.extras import EXTRAS, missing, require

ALONE = f"""
import sys
for name in {sorted({name for names in EXTRAS.values() for name in names} - {"yaml"})}:
    sys.modules[name] = None
"""


def child(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ALONE + code, *(str(one) for one in arguments)],
        capture_output=True, text=True, timeout=3600, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_importing_the_plugin_imports_no_framework() -> None:
    code = "names = [n for n, m in sys.modules.items() if m]; import json; print(json.dumps(names))"
    done = child(f"import evenfall_stream, evenfall_stream.plugin; {code}")
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert "evenfall_stream.plugin" in loaded
    assert loaded.isdisjoint({"torch", "torch_geometric", "transformers", "numba", "numpy"})


@pytest.mark.slow
def test_loading_and_predicting_need_no_extra(tmp_path: Path) -> None:
    done = child(
        """
import numpy as np
from evenfall_stream import StreamClassifier
from evenfall_stream.cli import app

folder = sys.argv[1]
np.save(folder + "/a.npy", np.random.default_rng(0).normal(size=(30, 3)))
small = {"width": 16, "depth": 1, "groups": 8, "neighbors": 4, "head": (8,), "drop_path": 0.1}
StreamClassifier(2, mlp_ratio=2.0, **small).save_pretrained(folder + "/m")
assert StreamClassifier.from_pretrained(folder + "/m").backbone.blocks[0].mlp is not None
app(["predict", folder + "/m", folder + "/a.npy", "--json"], standalone_mode=False)
for command, output in (("train", True), ("evaluate", False), ("pack", True)):
    try:
        app([command, "m", "--data", folder, *(["--output", folder + "/o"] if output else [])])
    except SystemExit as stop:
        assert stop.code == 1
""",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)[0]["probabilities"]) == {"0", "1"}
    assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == [
        f"Error: evenfall stream {command} needs accelerate and timm; install the extra 'train': "
        "pip install 'evenfall-stream[train]'"
        for command in ("train", "evaluate", "pack")
    ]


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    require("train", "this", "json")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError) as error:
        require("io", "ScanObjectNN", "h5py")
    assert str(error.value) == (
        "ScanObjectNN needs h5py; install the extra 'io': pip install 'evenfall-stream[io]'"
    )
    assert missing("pictures", "this", "json") is None
