"""The `evenfall` command."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from evenfall import __version__, registry
from evenfall.cli import output
from evenfall.cli.app import app
from evenfall.cli.doctor import examine
from evenfall.findings import Finding

FULL = """
    @hookimpl
    def evenfall_register_layers(register):
        register("a-layer", "json:loads", summary="a layer", host="torch")

    @hookimpl
    def evenfall_register_models(register):
        register("a-model", "json:loads", summary="a model [sic]", host="transformers")

    @hookimpl
    def evenfall_register_patches(register):
        register("a-patch", "json:loads", summary="a faster host", host="transformers")

    @hookimpl
    def evenfall_register_checkpoints(register):
        register("a-checkpoint", "json:loads", summary="weights")

    @hookimpl
    def evenfall_register_callbacks(register):
        register("a-callback", "json:loads", summary="prunes")

    @hookimpl
    def evenfall_register_datasets(register):
        register("a-dataset", "json:loads", summary="digits", contents="events")

    @hookimpl
    def evenfall_register_trainers(register):
        register("a-trainer", "json:loads", summary="trains a model", metric="accuracy")

    @hookimpl
    def evenfall_register_kernels(register):
        register("scan", "reference", "json:loads", slow=True)
        register("scan", "triton", "site_absent:scan", devices=("cuda",), priority=3)
        register("dead", "cpu", "site_absent:dead")

    @hookimpl
    def evenfall_register_commands(register):
        register("greet", "site_greet:app", summary="Say hello.")
        register("ruined", "site_ruined:app", summary="Fails to import.")
        register("number", "math:pi")
"""

GREET = """
import typer
app = typer.Typer()

@app.command()
def hello(name: str, loud: bool = False):
    typer.echo(f"hello {name.upper() if loud else name}")

@app.command()
def fail():
    from evenfall.errors import EvenfallError
    raise EvenfallError("could not greet")
"""


@pytest.fixture
def full(world):
    world.install("full", FULL)
    world.write_module("site_greet", GREET)
    world.write_module("site_ruined", "import a_host_that_is_missing\n")
    return world


def run(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def test_version() -> None:
    lines = run("--version").output.splitlines()
    assert f"evenfall-core {__version__}" in lines
    assert lines == sorted(lines)
    assert all(line.startswith("evenfall") for line in lines)


def test_built_in_commands_are_reserved() -> None:
    names = {command.callback.__name__ for command in app.registered_commands if command.callback}
    names |= {group.typer_instance.info.name for group in app.registered_groups}
    assert names == registry.BUILT_IN_COMMANDS


TRAINER = """
from dataclasses import dataclass
from pathlib import Path

@dataclass(frozen=True)
class Recipe:
    epochs: int = 1
    seed: int = 0
    rate: float = 0.1

def load_recipe(source):
    from evenfall.recipes import read_recipe
    return read_recipe(source, Recipe)

def train(recipe, data, output, *, resume=False, progress=None):
    if recipe.rate > 1:
        raise FloatingPointError("loss is nan")
    best = Path(output) / "best"
    best.mkdir(parents=True)
    (best / "score").write_text(str(recipe.rate + recipe.seed))
    return best

def evaluate(folder, data, split):
    return {"accuracy": float((folder / "score").read_text())}
"""


def test_a_grid_of_runs(world, tmp_path) -> None:
    world.install(
        "one",
        """
        @hookimpl
        def evenfall_register_trainers(register):
            register("tiny", "site_trainer")
        """,
    )
    world.write_module("site_trainer", TRAINER)
    (tmp_path / "base.yaml").write_text("{epochs: 2}")
    grid = tmp_path / "grid.yaml"
    grid.write_text("{recipe: base.yaml, seeds: [1, 2], values: {rate: [0.5, 0.25]}}")
    arguments = ("grid", "run", str(grid), "--data", ".", "--output", str(tmp_path / "out"))
    text = run(*arguments, "--trainer", "tiny").output
    assert "| rate=0.25 | valid | 2 | 1.75 ± 0.71 |" in text
    assert (tmp_path / "out" / "grid.md").read_text() in text
    grid.write_text("{recipe: base.yaml, seeds: [1], values: {rate: [0.5, 2]}}")
    result = run(*arguments, "--trainer", "tiny", code=1)
    assert "rate=2, seed-1 failed: FloatingPointError: loss is nan" in result.output
    unknown = run(*arguments, "--trainer", "tinny", code=1)
    assert "unknown trainer 'tinny'. Closest: 'tiny'" in unknown.stderr


def test_plugins_table_lists_broken_plugins_and_exits_with_0(full) -> None:
    full.install("bad", "raise ValueError('no [numba] here')")
    text = run("plugins").output
    for word in ("full", "dist-full", "1.2", "ok", "1 layer", "3 commands"):
        assert word in text
    assert "bad broken: ValueError: no [numba] here (EVENFALL_BLOCK=bad turns it off)" in text


def test_brackets_in_a_name_are_no_markup(full, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENFALL_PLUGINS", "full,[/x]")
    assert "[/x] broken: EVENFALL_PLUGINS lists '[/x]'" in run("plugins").output


def test_plugins_json(full) -> None:
    (found,) = json.loads(run("plugins", "--json").output)
    assert found["provides"]["models"] == ["a-model"]


def test_without_plugins_it_says_how_to_install_one(world) -> None:
    assert "pip install ./core ./kernels ./plugins/egru" in run("plugins").output
    assert "pip install ./core ./kernels" in run("kernels").output
    assert "No model is registered" in run("models").output


@pytest.mark.parametrize(
    ("command", "name", "summary"),
    [
        ("models", "a-model", "a model [sic]"),
        ("layers", "a-layer", "a layer"),
        ("patches", "a-patch", "a faster host"),
        ("checkpoints", "a-checkpoint", "weights"),
        ("callbacks", "a-callback", "prunes"),
        ("datasets", "a-dataset", "digits"),
        ("trainers", "a-trainer", "trains a model"),
    ],
)
def test_listing(full, command: str, name: str, summary: str) -> None:
    text = run(command).output
    assert name in text
    assert summary in text
    (found,) = json.loads(run(command, "--json").output)
    assert (found["name"], found["metadata"]["summary"]) == (name, summary)


def test_counters_of_the_core_are_listed(world) -> None:
    found = {row["name"]: row for row in json.loads(run("counters", "--json").output)}
    assert found["torch.nn.Linear"]["distribution"] == "evenfall-core"
    assert found["torch.nn.Linear"]["metadata"]["host"] == "torch"
    assert "torch.nn.Linear" in run("counters").output


def test_kernels(full) -> None:
    text = run("kernels").output
    for word in ("scan", "reference", "slow", "triton", "cuda"):
        assert word in text
    assert [row["name"] for row in json.loads(run("kernels", "--json").output)] == [
        "dead/cpu",
        "scan/reference",
        "scan/triton",
    ]


def test_help_lists_plugin_commands_without_importing_them(full) -> None:
    text = run("--help").output
    assert "Say hello." in text
    assert "A command of dist-full." in text
    assert "site_greet" not in sys.modules


def test_plugin_command_runs(full) -> None:
    assert run("greet", "hello", "Ada", "--loud").output == "hello ADA\n"


def test_plugin_command_shows_its_own_help(full) -> None:
    text = run("greet", "hello", "--help").output
    assert "--loud" in text
    assert "greet hello" in text


def test_plugin_command_that_raises_is_one_line(full) -> None:
    result = run("greet", "fail", code=1)
    assert "Error: could not greet" in result.output
    assert "Traceback" not in result.output


def test_plugin_command_that_fails_to_import_is_one_line(full) -> None:
    result = run("ruined", "--help", code=1)
    assert result.output.startswith("Error: command 'ruined' of plugin 'full' (dist-full 1.2)")
    assert "a_host_that_is_missing" in result.output
    assert result.output.count("\n") == 1
    assert run("greet", "hello", "Ada").output == "hello Ada\n"


def test_registered_object_that_is_not_a_command_is_an_error(full) -> None:
    assert "'math:pi' is a float, want a typer.Typer" in run("number", code=1).output


@pytest.mark.parametrize(("typo", "meant"), [("grete", "greet"), ("plugin", "plugins")])
def test_unknown_command_is_a_usage_error_with_the_closest(full, typo: str, meant: str) -> None:
    assert f"No such command '{typo}'. Closest: '{meant}'" in run(typo, code=2).output


def test_unknown_command_names_the_plugin_that_would_provide_it(
    full, monkeypatch: pytest.MonkeyPatch
) -> None:
    full.install(
        "bad",
        """
        @hookimpl
        def evenfall_register_commands(register):
            register("zoo", "site_greet:app")
            raise ValueError("no animals")
        """,
    )
    text = run("zoo", code=2).output
    assert "plugin 'bad' (dist-bad 1.2) would provide it" in text
    assert "no animals" in text
    assert (
        "Plugins provide commands; `evenfall plugins` lists the installed ones."
        in run("xyzzy", code=2).output
    )


def test_help_lines_are_not_cut(full) -> None:
    lines = run("--help").output.partition("Commands:")[2].splitlines()
    assert [line for line in lines if line.endswith("...")] == []


def test_piped_tables_have_one_line_a_row(full, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    full.install(
        "long",
        f"""
        @hookimpl
        def evenfall_register_models(register):
            register("{"Wide" * 20}", "json:loads", summary="{"words " * 30}end")
        """,
    )
    (line,) = [line for line in run("models").output.splitlines() if "Wide" in line]
    assert "Wide" * 20 in line
    assert "end" in line
    monkeypatch.setenv("COLUMNS", "120")
    assert "Wide" * 20 in run("models").output


def test_advice_for_a_host_needs_no_compiler(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evenfall.cli.doctor.HOSTS", ("mamba-ssm", "absent-host"))
    monkeypatch.setattr("evenfall.cli.doctor.installed_version", lambda name: None)
    advice = {finding.subject: finding.advice for finding in examine()}
    assert "MAMBA_SKIP_CUDA_BUILD=TRUE pip install --no-build-isolation" in advice["mamba-ssm"]
    assert advice["absent-host"].endswith("pip install absent-host")


def test_plugin_cannot_take_a_built_in_command(world) -> None:
    hook = "@hookimpl\ndef evenfall_register_commands(register): register('doctor', 'json:loads')"
    world.install("thief", f"{hook}; register('steal', 'json:loads')")
    assert "command 'doctor' is built into evenfall-core" in run("plugins").output
    (row,) = json.loads(run("plugins", "--json").output)
    assert (row["status"], row["provides"]) == ("ok", {"commands": ["steal"]})
    (found,) = [one for one in examine() if one.subject == "plugin thief"]
    assert found.level == "warning"
    assert "EVENFALL_BLOCK=thief" in found.detail


def test_strict_is_one_line_and_exit_code_1(world, monkeypatch: pytest.MonkeyPatch) -> None:
    world.install("bad", "1 / 0")
    monkeypatch.setenv("EVENFALL_STRICT", "1")
    result = run("plugins", code=1)
    assert "Error: 1 plugin(s) broken" in result.output
    assert "Traceback" not in result.output


def test_doctor_exits_with_0_if_nothing_is_broken(world) -> None:
    world.install("empty", "")
    text = run("doctor").output
    for word in ("python", "cores", "evenfall-core", "accelerator", "plugin empty", "transformers"):
        assert word in text


def test_doctor_finds_broken_parts(full) -> None:
    full.install("bad", "1 / 0")
    found = {
        finding["subject"]: finding
        for finding in json.loads(run("doctor", "--json", code=1).output)
    }
    assert found["plugin bad"]["level"] == "broken"
    assert found["dead"]["level"] == "broken"
    assert found["scan/triton"]["level"] == "warning"
    assert found["scan"]["detail"] == "reference"


def test_every_finding_that_is_not_ok_has_advice(full, monkeypatch: pytest.MonkeyPatch) -> None:
    full.install("bad", "1 / 0")
    full.install("off", "")
    monkeypatch.setenv("EVENFALL_BLOCK", "off,absent")
    findings = list(examine())
    assert {"broken", "warning"} <= {finding.level for finding in findings}
    assert [finding for finding in findings if finding.level != "ok" and not finding.advice] == []


def test_findings_print_their_advice(capsys: pytest.CaptureFixture[str]) -> None:
    list(output.show_findings([Finding("warning", "a [b]", "detail", "do this")]))
    assert capsys.readouterr().out == "warning  a [b]: detail\n         do this\n"


def test_command_in_a_new_process(site) -> None:
    site.install("good", "")
    site.install("bad", "1 / 0")
    done = site.run("-m", "evenfall", "plugins", "--json", EVENFALL_PLUGINS="good,bad")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row["status"] for row in json.loads(done.stdout)}
    assert (rows["good"], rows["bad"]) == ("ok", "broken")
    assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("command", ["plugins", "kernels --json", "doctor", "--help"])
def test_output_to_a_full_disk_is_one_line(command: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "evenfall", *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the output cannot be written: [Errno 28]")
    assert done.stderr.count("\n") == 1


def test_an_error_of_another_file_is_not_one_of_the_output(monkeypatch) -> None:
    def fail(*_: object) -> None:
        open("/no/such/file")  # noqa: SIM115

    monkeypatch.setattr(output, "show_plugins", fail)
    result = run("plugins", code=1)
    assert isinstance(result.exception, FileNotFoundError)
    assert "cannot be written" not in result.output


LOUD = """
    import atexit, os
    print("a line of print")
    os.system("echo a line of a program")
    atexit.register(print, "a line of the end")
    atexit.register(os.system, "echo a last line of a program")

    @hookimpl
    def evenfall_register_models(register):
        register("loud", "json:loads", summary="a model")
"""


@pytest.mark.parametrize("command", ["plugins", "models", "kernels"])
def test_what_a_plugin_prints_does_not_get_into_json(site, command: str) -> None:
    site.install("loud", LOUD)
    done = site.run("-m", "evenfall", command, "--json", EVENFALL_PLUGINS="loud")
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), list)
    assert "a line of print" in done.stderr
    assert "a line of a program" in done.stderr
    assert "a line of the end" in done.stderr
    assert "a last line of a program" in done.stderr


def test_control_characters_of_a_plugin_are_not_printed(world) -> None:
    world.install("loud", "raise ValueError('a\x1b[31mb')")
    assert "ValueError: a\\x1b[31mb" in run("plugins").output


def test_doctor_examines_the_rest_if_a_variable_is_wrong(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENFALL_STRICT", "maybe")
    monkeypatch.setenv("EVENFALL_CHECKPOINTS", "/nowhere")
    found = {one["subject"]: one for one in json.loads(run("doctor", "--json", code=1).output)}
    assert found["plugins"]["detail"].startswith("EVENFALL_STRICT must be one of")
    assert found["transformers"]["level"] == "ok"
    assert found["EVENFALL_CHECKPOINTS"]["detail"] == "/nowhere is not a folder"


def test_json_has_no_numbers_that_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_json({"a": [float("nan"), 1.5], "b": float("inf")})
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.5], "b": None}


def test_hosts_are_quiet_in_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "0")
    torchao = logging.getLogger("torch.utils._pytree")
    torchao.setLevel(logging.NOTSET)
    assert CliRunner().invoke(app, ["models", "--json"]).exit_code == 0
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "error"
    assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "0"  # what a user sets, stays
    assert torchao.level == logging.ERROR
