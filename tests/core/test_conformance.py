"""`evenfall plugins --check`: each kind of fault in what a plugin registers is found and named."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import pytest
from typer.testing import CliRunner

from evenfall.cli.app import app
from evenfall.conformance import check_plugin
from evenfall.errors import UnknownNameError

GOOD = """
    @hookimpl
    def evenfall_register_layers(register):
        register("layer", "json:loads", summary="a layer", host="torch")

    @hookimpl
    def evenfall_register_commands(register):
        register("try", "site_things:COMMAND", summary="try it")

    @hookimpl
    def evenfall_register_counters(register):
        register("json.JSONDecoder", "site_things:COUNTER")
        register("absent_host.Layer", "site_things:COUNTER")

    @hookimpl
    def evenfall_register_checkpoints(register):
        register("small", "site_things:SMALL", summary="weights")
"""
THINGS = """
import typer
from evenfall.checkpoints import Checkpoint
from evenfall.counting import Counter
COMMAND = typer.Typer()
COUNTER = Counter()
SMALL = Checkpoint("small", "nowhere", str)
"""


def faults(name: str) -> dict[str, str]:
    return {one.subject: one.detail for one in check_plugin(name) if one.level != "ok"}


def test_a_good_plugin_has_no_faults(world) -> None:
    world.install("good", GOOD)
    world.write_module("site_things", THINGS)
    assert faults("good") == {}
    subjects = [one.subject for one in check_plugin("good")]
    assert subjects == [
        "plugin good", "layer layer", "checkpoint small", "command try",
        "counter absent_host.Layer", "counter json.JSONDecoder",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("layers", "'x', 'json:__doc__', summary='s'", "is a str, want a class or a function"),
        ("layers", "'x', 'json:absent', summary='s'", "cannot import 'json:absent'"),
        ("models", "'x', 'json:loads'", "has no metadata summary"),
        ("operations", "'x', 'json:loads', summary='s'", "want an evenfall.contracts.Operation"),
        ("operations", "'x', 'site_odd_things:OPERATION', summary='s'", "want a typing.Protocol"),
        ("patches", "'x', 'json:loads', summary='s'", "want an evenfall.patches.Patch"),
        ("checkpoints", "'x', 'json:loads', summary='s'", "want an evenfall.checkpoints.Check"),
        (
            "checkpoints",
            "'x', 'site_odd_things:OTHER', summary='s'",
            "has the name 'other', want 'x'",
        ),
        (
            "checkpoints",
            "'other', 'site_odd_things:OTHER', summary='s', folder='there'",
            "metadata folder='there', want 'nowhere'",
        ),
        ("commands", "'x', 'json:loads', summary='s'", "want a typer.Typer or a click command"),
        ("callbacks", "'x', 'json:loads', summary='s'", "want a subclass of evenfall.runs.Callb"),
        ("counters", "'json.JSONDecoder', 'json:loads'", "want an evenfall.counting.Counter"),
        (
            "counters",
            "'json.loads', 'site_odd_things:COUNTER'",
            "'json.loads', which is not a class",
        ),
        (
            "counters",
            "'json.Absent', 'site_odd_things:COUNTER'",
            "which cannot be imported: module 'json'",
        ),
        ("trainers", "'x', 'json:loads', summary='s'", "want an evenfall.trainers.Trainer"),
        ("lowerings", "'json.JSONDecoder', 'json:loads'", "want an evenfall.lowering.Lowering"),
        ("splitters", "'json.JSONDecoder', 'json:loads'", "want an evenfall.splitters.Splitter"),
        ("exporters", "'x', 'json:__doc__', summary='s'", "is a str, want a class or a function"),
        ("datasets", "'x', 'json:__doc__', summary='s'", "is a str, want a class or a function"),
        ("kernels", "'scan', 'x', 'site_absent'", "cannot import 'site_absent'"),
    ],
)
def test_a_fault_is_named(world, kind: str, arguments: str, message: str) -> None:
    world.write_module(
        "site_odd_things",
        "from evenfall.checkpoints import Checkpoint\nfrom evenfall.contracts import Operation\n"
        "from evenfall.counting import Counter\nOTHER = Checkpoint('other', 'nowhere', str)\n"
        "OPERATION = Operation(int)\nCOUNTER = Counter()\n",
    )
    world.install(
        "odd", f"@hookimpl\ndef evenfall_register_{kind}(register): register({arguments})"
    )
    (detail,) = faults("odd").values()
    assert message in detail


def test_every_kind_is_checked() -> None:
    from evenfall import conformance, registry

    assert {*conformance._CHECKS} == {*registry.ALL} - {"kernels"}


def test_broken_blocked_and_empty_plugins(world, monkeypatch: pytest.MonkeyPatch) -> None:
    world.install("bad", "1 / 0")
    world.install("empty", "")
    assert "broken: ZeroDivisionError" in faults("bad")["plugin bad"]
    assert faults("empty") == {"plugin empty": "it registers nothing"}
    with pytest.raises(UnknownNameError, match=r"unknown plugin 'emty'\. Closest: 'empty'"):
        check_plugin("emty")


LAYER = """
    @hookimpl
    def evenfall_register_layers(register):
        register("layer", "json:loads", summary="a layer")
"""


def test_a_heavy_plugin_module_is_a_warning(world) -> None:
    pytest.importorskip("numpy")
    world.install("heavy", f"import numpy\n{textwrap.dedent(LAYER)}")
    assert faults("heavy") == {"plugin heavy": "its module imports numpy"}


SCANS = """
    from typing import Protocol
    from evenfall.contracts import Operation, draw

    class Scan(Protocol):
        def __call__(self, x): ...

    def example(device, dtype):
        from evenfall.backends import select
        (x,) = draw(device, dtype, (2, 3))
        return (select("scan", device=device, dtype=dtype).load()(x),)

    OPERATION = Operation(Scan, example)

    def double(x): return x * 2
    def fast(x): return x + x
    def wrong(x): return x * 3
    def short(x): return x[:1]
    def late(x): raise OSError("later")
    def other(x, y): return x

    @hookimpl
    def evenfall_register_operations(register):
        register("scan", "site_scans:OPERATION", summary="a scan")

    @hookimpl
    def evenfall_register_kernels(register):
        register("scan", "reference", "site_scans:double", devices=("*",), dtypes=("*",), slow=True)
        for name in ("fast", "wrong", "short", "late", "other"):
            register("scan", name, f"site_scans:{name}")
        register("scan", "elsewhere", "site_scans:fast", devices=("absent",))
"""
FAULTS = {
    "scan/wrong": "its results differ from the reference's by",
    "scan/short": "it returns tensors of shapes [(1, 3)], the reference [(2, 3)]",
    "scan/late": "OSError: later",
    "scan/other": "must be a function of (x), got one of (x, y)",
}


def test_backends_run_a_tiny_call(world) -> None:
    pytest.importorskip("torch")
    world.install("scans", SCANS)
    found = faults("scans")
    assert {*found} == {f"kernel {name}" for name in FAULTS}
    for name, text in FAULTS.items():
        assert text in found[f"kernel {name}"]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments])


def test_the_command_exits_with_1_for_a_fault(world) -> None:
    world.install("good", GOOD)
    world.write_module("site_things", THINGS)
    world.install("bad", "1 / 0")
    good, bad = run("plugins", "--check", "good"), run("plugins", "--check", "bad", "--json")
    assert (good.exit_code, bad.exit_code) == (0, 1)
    assert "ok       layer layer: json:loads" in good.output
    (finding,) = json.loads(bad.output)
    assert (finding["level"], finding["subject"]) == ("broken", "plugin bad")
    missing = run("plugins", "--check", "god")
    assert missing.exit_code == 1
    assert "Error: unknown plugin 'god'. Closest: 'good'" in missing.output


def test_doctor_runs_a_tiny_call_of_each_backend(world) -> None:
    pytest.importorskip("torch")
    world.install("scans", SCANS)
    done = run("doctor", "--json")
    found = {one["subject"]: one for one in json.loads(done.output)}
    assert done.exit_code == 1
    for name, text in FAULTS.items():
        assert found[name]["level"] == "broken"
        assert text in found[name]["detail"]
    assert "EVENFALL_BACKEND=scan=reference" in found["scan/wrong"]["advice"]
    assert found["scan"]["detail"] == "elsewhere (not tried: no such device), fast, reference"


def test_doctor_lists_every_variable(world, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    from evenfall.cli.doctor import examine

    monkeypatch.setenv("EVENFALL_PLUGINS", "good")
    monkeypatch.setenv("EVENFALL_BACKED", "reference")
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "code"))
    found = {one.subject: one for one in examine()}
    assert (found["EVENFALL_PLUGINS"].level, found["EVENFALL_PLUGINS"].detail) == ("ok", "good")
    assert found["EVENFALL_BACKED"].level == "warning"
    assert "Closest: 'EVENFALL_BACKEND'" in found["EVENFALL_BACKED"].advice
    assert found["NUMBA_DISABLE_JIT"].level == "warning"
    assert found["NUMBA_NUM_THREADS"].detail == "2"
    assert found["machine code"].detail == f"{tmp_path / 'code'}, 0 MB"
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    found = {one.subject: one for one in examine()}
    assert found["machine code"].level == "warning"
    assert "NUMBA_CACHE_DIR" in found["machine code"].advice
