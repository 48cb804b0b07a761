"""The folder of a run: how a run begins, continues and is extended, and who may write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from evenfall.runs import RunFolder


@dataclass(frozen=True)
class Recipe:
    epochs: int = 2
    rate: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    seed: int = 0


def begin(path: Path, recipe: Recipe = Recipe(), *, resume: bool = False) -> RunFolder:
    """Open the folder, write a checkpoint and a log line an epoch, and a best model."""
    run = RunFolder(path, recipe)
    with run.open(resume=resume):
        last = run.last_checkpoint()
        done = int(last.name.split("-")[1]) if last else 0
        run.cut_log("epoch", done)
        for epoch in range(done + 1, recipe.epochs + 1):
            run.log({"epoch": epoch})
            (path / f"checkpoint-{epoch}").mkdir()
            run.remove_old_checkpoints()
        with run.new_best() as folder:
            (folder / "weights").write_text("w")
    return run


def log(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]


def test_a_run_writes_recipe_log_checkpoint_and_best(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    assert sorted(p.name for p in run.path.iterdir()) == [
        "best", "checkpoint-2", "log.jsonl", "recipe.yaml",
    ]  # fmt: skip
    assert yaml.safe_load(run.recipe_file.read_text())["betas"] == [0.9, 0.99]
    assert (run.best / "recipe.yaml").read_text() == run.recipe_file.read_text()
    assert log(run.path) == [{"epoch": 1}, {"epoch": 2}]


def test_a_run_is_continued_only_when_asked_and_by_its_own_recipe(tmp_path: Path) -> None:
    begin(tmp_path)
    with pytest.raises(FileExistsError, match="already contains a run; use --resume to continue"):
        begin(tmp_path)
    begin(tmp_path, resume=True)
    other = Recipe(rate=0.2, seed=1)
    with pytest.raises(ValueError, match=r"whose recipe differs in \['rate', 'seed'\]"):
        begin(tmp_path, other, resume=True)
    with pytest.raises(ValueError, match=r"whose recipe differs in \['epochs'\]"):
        begin(tmp_path, Recipe(epochs=1), resume=True)
    (tmp_path / "recipe.yaml").unlink()
    with pytest.raises(ValueError, match=r"contains a run without recipe\.yaml"):
        begin(tmp_path, resume=True)


def test_more_epochs_extend_a_run(tmp_path: Path) -> None:
    begin(tmp_path)
    begin(tmp_path, Recipe(epochs=4), resume=True)
    assert log(tmp_path) == [
        {"epoch": 1}, {"epoch": 2}, {"epoch": 2, "extended": [2, 4]}, {"epoch": 3}, {"epoch": 4},
    ]  # fmt: skip
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text())["epochs"] == 4
    assert (tmp_path / "checkpoint-4").is_dir()
    assert not (tmp_path / "checkpoint-2").exists()


@pytest.mark.parametrize("resume", [False, True])
def test_failure_before_the_first_checkpoint_leaves_no_run(tmp_path: Path, resume: bool) -> None:
    run = RunFolder(tmp_path, Recipe(rate=1e30))

    def diverge() -> None:
        with run.open(resume=False):
            run.log({"epoch": 1, "loss": 1e9})
            raise FloatingPointError

    with pytest.raises(FloatingPointError):
        diverge()
    assert run.recipe_file.is_file()
    assert not run.has_run()
    begin(tmp_path, resume=resume)
    assert log(tmp_path) == [{"epoch": 1}, {"epoch": 2}]
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text())["rate"] == 0.1


def test_a_best_model_alone_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    with pytest.raises(FileExistsError, match="already contains a run"):
        begin(tmp_path)


REPLACES = """
import os, sys
from pathlib import Path
from evenfall.files import written_aside
rename = Path.rename
def die(source, target):
    if source.parent.name.startswith("."):
        os.kill(os.getpid(), 9)
    return rename(source, target)
Path.rename = die
with written_aside(Path(sys.argv[1], "best"), replace=True) as folder:
    (folder / "weights").write_text("new")
"""


def test_the_best_model_survives_a_killed_replacement(tmp_path: Path) -> None:
    run = begin(tmp_path)
    mine = tmp_path / ".notes-abcdefgh"
    mine.mkdir()
    ended = subprocess.run([sys.executable, "-c", REPLACES, str(tmp_path)], check=False)
    assert ended.returncode == -9
    assert not run.best.exists()
    with run.open(resume=True):
        assert (run.best / "weights").read_text() == "w"
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == [mine]


def test_later_and_incomplete_log_lines_are_removed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, Recipe())
    run.log_file.write_text('{"step": 1}\n{"step": 2, "a": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    run.cut_log("step", 2)
    assert log(tmp_path) == [{"step": 1}, {"step": 2, "a": 1}, {"step": 2}]


def test_checkpoints_are_ordered_by_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("checkpoint-2", "checkpoint-10", "checkpoint-x", ".checkpoint-30-abc"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-20").touch()
    run = RunFolder(tmp_path, Recipe())
    assert [p.name for p in run.checkpoints()] == ["checkpoint-2", "checkpoint-10"]
    (tmp_path / "checkpoint-2" / "state").touch()
    found = run.last_checkpoint(["state"])
    assert found is not None
    assert found.name == "checkpoint-2"
    assert "checkpoint-10 is incomplete and is skipped; it lacks ['state']" in caplog.text
    assert run.last_checkpoint(["more"]) is None


def test_an_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(FileExistsError, match="must be a folder, but is a file"):
        begin(tmp_path / "run")


def test_a_run_that_fails_at_once_leaves_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", Recipe())

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), run.open(resume=False, wait=interrupt):
        pass
    assert list(tmp_path.iterdir()) == []


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    first, second = (RunFolder(tmp_path, Recipe()) for _ in range(2))
    with (
        first.open(resume=False),
        pytest.raises(BlockingIOError, match=r"is in use by process \d+ on "),
        second.open(resume=True),
    ):
        pass
    with second.open(resume=True):
        assert (tmp_path / ".lock").is_file()
    assert not (tmp_path / ".lock").exists()


DIES = """
import os, sys
from evenfall.runs.lock import lock_folder
from pathlib import Path
with lock_folder(Path(sys.argv[1])):
    os.kill(os.getpid(), 9)
"""


def test_the_lock_of_a_dead_process_is_released(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], check=False)
    assert ended.returncode == -9
    assert (tmp_path / ".lock").is_file()
    begin(tmp_path)
    assert not (tmp_path / ".lock").exists()


FORKS = """
import os, sys, time
from evenfall.runs.lock import lock_folder
from pathlib import Path
with lock_folder(Path(sys.argv[1])):
    if os.fork() == 0:
        os.write(1, b"forked")
        os.read(0, 1)  # until the test ends
        os._exit(0)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_hold_the_lock(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", FORKS, str(tmp_path)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.wait() == -9
        assert parent.stdout.read(6) == b"forked"
        begin(tmp_path)
        parent.stdin.close()


def test_the_first_rank_alone_writes(tmp_path: Path) -> None:
    steps: list[str] = []
    other = RunFolder(tmp_path / "run", Recipe(), first_rank=False)
    with other.open(resume=False, wait=lambda: steps.append("wait")):
        other.log({"epoch": 1})
        other.cut_log("epoch", 0)
        other.remove_old_checkpoints()
    assert steps == ["wait"]
    assert not (tmp_path / "run").exists()


def test_the_others_check_before_the_first_one_writes(tmp_path: Path) -> None:
    begin(tmp_path)
    first, other = (RunFolder(tmp_path, Recipe(epochs=3), first_rank=r) for r in (True, False))

    def second_rank() -> None:
        with other.open(resume=True):
            pass

    with first.open(resume=True, wait=second_rank):
        assert yaml.safe_load(first.recipe_file.read_text())["epochs"] == 3


def test_the_log_is_json_where_a_number_is_not_finite(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", Recipe())
    with run.open(resume=False):
        run.log({"step": 1, "loss": float("nan"), "rates": [1.0, float("inf")]})
    line = (tmp_path / "run" / "log.jsonl").read_text()
    assert json.loads(line) == {"step": 1, "loss": None, "rates": [1.0, None]}
