"""Plugins: each is loaded alone; a broken one is removed and listed, and is no error."""

from __future__ import annotations

import logging
import os
import signal
import threading
from importlib.metadata import PathDistribution
from itertools import permutations
from pathlib import Path

import pytest

from evenfall import hookspecs, load_plugins, plugins, registry
from evenfall.discovery import discover
from evenfall.entries import Registry
from evenfall.errors import UnknownNameError
from evenfall.manager import PluginManager, PluginStatus

GOOD = """
    @hookimpl
    def evenfall_register_models(register):
        register("good-model", "fractions:Fraction", summary="a number", host="python")
"""

HALF = """
    @hookimpl
    def evenfall_register_layers(register):
        register("half-layer", "json:loads")

    @hookimpl
    def evenfall_register_models(register):
        register("half-model", "json:loads")
        raise RuntimeError("the second half is missing")
"""


def row(rows: list[PluginStatus], name: str) -> PluginStatus:
    (found,) = [one for one in rows if one.name == name]
    return found


def broken_message(site, name: str) -> str:
    """Load with a good plugin beside it, check that one, and return why `name` is broken."""
    site.install("good", GOOD)
    manager = site.manager()
    found = row(manager.statuses(), name)
    assert row(manager.statuses(), "good").provides == {"models": ["good-model"]}
    assert found.status == "broken"
    assert f"EVENFALL_BLOCK={name}" in found.message
    assert found.provides == {}
    return found.message


def test_good_plugin_is_listed_with_what_it_provides(site) -> None:
    site.install("good", GOOD)
    assert site.manager().statuses() == [
        PluginStatus("good", "dist-good", "1.2", "ok", "", {"models": ["good-model"]})
    ]


def test_status_is_jsonable(site) -> None:
    site.install("good", GOOD)
    assert site.manager().statuses()[0].as_dict() == {
        "name": "good",
        "distribution": "dist-good",
        "version": "1.2",
        "status": "ok",
        "message": "",
        "provides": {"models": ["good-model"]},
    }


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("raise ValueError('boom')", "ValueError: boom"),
        ("import module_that_is_missing", "No module named 'module_that_is_missing'"),
        ("raise SystemExit(2)", "SystemExit: 2"),
        ("def broken(:", "SyntaxError"),
        ("class Odd(BaseException): pass\nraise Odd('strange')", "strange"),
    ],
)
def test_plugin_that_fails_at_import_is_broken(site, statement: str, words: str) -> None:
    site.install("bad", statement)
    assert words in broken_message(site, "bad")


def test_an_interrupt_that_the_plugin_raises_itself_is_its_fault(site) -> None:
    site.install("bad", "raise KeyboardInterrupt('no user pressed a key')")
    handler = signal.getsignal(signal.SIGINT)
    assert "KeyboardInterrupt: no user" in broken_message(site, "bad")
    assert signal.getsignal(signal.SIGINT) is handler


def test_keyboard_interrupt_is_not_swallowed_and_leaves_nothing(site) -> None:
    site.install("good", GOOD)
    site.install("stop", "import signal\nsignal.raise_signal(signal.SIGINT)")
    manager = site.manager()
    handler = signal.default_int_handler
    former = signal.signal(signal.SIGINT, handler)  # a test process may ignore the signal
    try:
        with pytest.raises(KeyboardInterrupt):
            manager.load()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, former)
    site.write_module("site_stop", "EVENFALL_API = 1\n")
    assert [one.status for one in manager.statuses()] == ["ok", "ok"]


def test_misspelt_hook_is_broken(site) -> None:
    site.install("bad", "@hookimpl\ndef evenfall_register_modles(register): pass")
    message = broken_message(site, "bad")
    assert "no such hook: evenfall_register_modles" in message
    assert "closest: evenfall_register_models" in message


def test_unmarked_hook_is_broken(site) -> None:
    site.install("bad", "def evenfall_register_models(register): pass")
    assert "lacks the decorator @evenfall.hookimpl" in broken_message(site, "bad")


def test_hook_with_an_unknown_argument_is_broken(site) -> None:
    site.install("bad", "@hookimpl\ndef evenfall_register_models(registry): pass")
    assert "registry" in broken_message(site, "bad")


@pytest.mark.parametrize(
    ("api", "words"),
    [
        ("", "EVENFALL_API: got nothing, want an integer"),
        ("EVENFALL_API = '1'", "got '1', want an integer"),
        ("EVENFALL_API = True", "got True, want an integer"),
        ("EVENFALL_API = 2", "needs core API 2, this core has 1: upgrade evenfall-core"),
        ("EVENFALL_API = 0", "written for core API 0, this core has 1: upgrade dist-bad"),
    ],
)
def test_other_api_number_is_broken(site, api: str, words: str) -> None:
    assert hookspecs.API_VERSION == 1
    site.install("bad", "", api=api)
    assert words in broken_message(site, "bad")


TWO = (
    GOOD
    + """
        register("own-model", "json:loads")
"""
)


def test_clashing_name_alone_is_dropped(site, caplog: pytest.LogCaptureFixture) -> None:
    site.install("good", GOOD)
    site.install("later", TWO)
    manager = site.manager()
    rows = manager.statuses()
    assert [(one.name, one.status) for one in rows] == [("good", "ok"), ("later", "ok")]
    assert row(rows, "good").provides == {"models": ["good-model"]}
    assert row(rows, "good").message == ""
    assert row(rows, "later").provides == {"models": ["own-model"]}
    message = row(rows, "later").message
    for word in ("'later' (dist-later 1.2)", "model 'good-model' belongs to plugin 'good'",
                 "(dist-good 1.2)", "EVENFALL_BLOCK=later turns it off"):  # fmt: skip
        assert word in message
    assert caplog.messages == [message]


@pytest.mark.parametrize(
    ("plugins", "name", "holder"),
    [
        (("later", "sooner"), "thing", "later"),
        (("sooner", "later"), "thing", "later"),
        (("a", "zeta"), "zeta", "zeta"),
        (("a", "zeta"), "zeta-small", "zeta"),
        (("a", "zeta"), "ZetaModel", "zeta"),
        (("a", "zeta"), "zeta_scan.Layer", "zeta"),
        (("a", "zeta"), "zetas", "a"),
        (("zeta", "zeta-x"), "zeta-x-small", "zeta-x"),
        (("zeta", "zeta-x"), "zeta-small", "zeta"),
    ],
)
def test_name_belongs_to_the_distribution_that_it_is_named_after(
    site, plugins: tuple[str, str], name: str, holder: str
) -> None:
    for plugin in plugins:
        hook = "@hookimpl\ndef evenfall_register_models(register): "
        site.install(
            plugin, f"{hook}register({name!r}, 'json:loads')", distribution=f"evenfall-{plugin}"
        )
    rows = site.manager().statuses()
    assert {one.name: one.provides for one in rows if one.provides} == {holder: {"models": [name]}}
    assert [one.name for one in rows if one.message] == [one for one in plugins if one != holder]


def test_name_of_a_broken_plugin_goes_to_the_next_one(site) -> None:
    hook = "@hookimpl\ndef evenfall_register_models(register):\n    register('zeta', 'json:loads')"
    site.install("a", hook)
    site.install("zeta", f"{hook}\n    raise ValueError('no')", distribution="evenfall-zeta")
    rows = site.manager().statuses()
    assert [one.status for one in rows] == ["ok", "broken"]
    assert (row(rows, "a").provides, row(rows, "a").message) == ({"models": ["zeta"]}, "")


def test_plugin_that_registers_a_name_twice_is_broken(site) -> None:
    site.install("bad", TWO.replace("own-model", "good-model"))
    assert "is already registered by plugin 'bad'" in broken_message(site, "bad")


def test_clash_of_kernels_drops_one_backend(site) -> None:
    hook = "@hookimpl\ndef evenfall_register_kernels(register):\n"
    hook += "    register('op', 'cpu', 'json:loads')\n"
    site.install("one", hook)
    site.install("two", f"{hook}    register('op', 'fast', 'json:loads')")
    rows = site.manager().statuses()
    assert [one.provides for one in rows] == [{"kernels": ["op/cpu"]}, {"kernels": ["op/fast"]}]


def test_half_registered_plugin_is_rolled_back(world) -> None:
    world.install("half", HALF)
    world.install("good", GOOD)
    load_plugins()
    assert registry.models.names() == ["good-model"]
    assert registry.layers.names() == []
    with pytest.raises(UnknownNameError, match=r"'half' .* would provide it, .*second half"):
        registry.layers.get("half-layer")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("register('op', 'cpu', 'json:loads', devices='cpu')", "devices of kernel 'op/cpu'"),
        ("register('op', 'cpu', 'json:loads', dtypes=())", "dtypes of kernel 'op/cpu'"),
        ("register('op', 'cpu', 'json:loads', priority='high')", "priority of kernel 'op/cpu'"),
        ("register('a/b', 'cpu', 'json:loads')", "want two names without '/'"),
    ],
)
def test_malformed_kernel_is_broken(site, call: str, words: str) -> None:
    site.install("bad", f"@hookimpl\ndef evenfall_register_kernels(register): {call}")
    assert words in broken_message(site, "bad")


@pytest.mark.parametrize(
    ("others", "winner"), [("dist-copy", "dist-copy"), ("evenfall-good", "evenfall-good")]
)
def test_two_distributions_with_one_plugin_name(site, others: str, winner: str) -> None:
    site.install("good", GOOD)
    site.write_metadata(others, "[evenfall]\ngood = site_good\n")
    rows = site.manager().statuses()
    assert {one.distribution: one.status for one in rows} == {winner: "ok", "dist-good": "broken"}
    (message,) = [one.message for one in rows if one.message]
    assert f"plugin name 'good' is used by plugin 'good' ({winner} 1.2) as well" in message
    assert "uninstall one of them" in message
    assert "EVENFALL_BLOCK" not in message  # it would block both


def test_two_distributions_without_metadata_both_count(site) -> None:
    for name in ("one", "two"):
        site.install(name, "")
        (site.folder / f"dist_{name}-1.2.dist-info" / "METADATA").unlink()
    assert [one.name for one in site.manager().statuses()] == ["one", "two"]


def test_distribution_found_twice_counts_once(site) -> None:
    site.install("good", GOOD)
    site.write_metadata("dist-good", "[evenfall]\ngood = site_good\n", version="1.1")
    assert [one.status for one in site.manager().statuses()] == ["ok"]


def test_unreadable_entry_points_are_a_row(site) -> None:
    folder = site.write_metadata("dist-rotten", "")
    (folder / "entry_points.txt").write_bytes(b"[evenfall]\n\xff\xfe = \x80\n")
    message = broken_message(site, "dist-rotten")
    assert "entry_points.txt cannot be read" in message


def test_missing_metadata_does_not_stop_a_plugin(site) -> None:
    site.install("good", GOOD)
    (site.folder / "dist_good-1.2.dist-info" / "METADATA").unlink()
    (found,) = site.manager().statuses()
    assert (found.status, found.distribution) == ("ok", "unknown")


def test_entry_point_without_a_module_is_broken(site) -> None:
    site.write_metadata("dist-gone", "[evenfall]\ngone = site_no_module\n")
    assert "No module named 'site_no_module'" in broken_message(site, "gone")


def test_broken_plugin_is_logged_once(site, caplog: pytest.LogCaptureFixture) -> None:
    site.install("bad", "1 / 0")
    manager = site.manager()
    with caplog.at_level(logging.WARNING, logger="evenfall"):
        manager.load()
        manager.load()
    assert len(caplog.records) == 1
    assert "ZeroDivisionError" in caplog.text


def test_plugin_may_read_a_registry_while_it_registers(world) -> None:
    world.install(
        "reader",
        """
        from evenfall import registry

        @hookimpl
        def evenfall_register_models(register):
            register(f"after-{len(registry.layers.names())}", "json:loads")
        """,
    )
    assert registry.models.names() == ["after-0"]


def test_loading_twice_and_from_many_threads_runs_each_plugin_once(site) -> None:
    site.install(
        "counted",
        """
        import time
        CALLS = []

        @hookimpl
        def evenfall_register_models(register):
            CALLS.append(1)
            time.sleep(0.05)
            register("counted", "json:loads")
        """,
    )
    manager = site.manager()
    seen: list[int] = []
    threads = [
        threading.Thread(target=lambda: seen.append(len(manager.statuses()))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    import site_counted

    assert seen == [1] * 6
    assert site_counted.CALLS == [1]


def test_plugins_lists_the_installed_ones(world) -> None:
    world.install("good", GOOD)
    assert [one.name for one in plugins()] == ["good"]


CLAIM = "@hookimpl\ndef evenfall_register_models(register): register('egru', 'json:loads')"


@pytest.mark.parametrize("name", ["egru", "egru-for-all", "a", "Egru"])
def test_nobody_takes_a_name_of_evenfalls_own_plugins(site, name: str) -> None:
    """Neither by the name of a distribution, nor of an entry point, nor of what is registered."""
    site.install("egru", CLAIM, distribution="evenfall-egru")
    site.write_module("site_other", f"from evenfall import hookimpl\nEVENFALL_API = 1\n{CLAIM}")
    site.write_metadata(name, "[evenfall]\negru = site_other\naa = site_other\n")
    rows = site.manager().statuses()
    found = {(one.name, one.distribution): (one.status, dict(one.provides)) for one in rows}
    assert found == {
        ("egru", "evenfall-egru"): ("ok", {"models": ["egru"]}),
        ("egru", name): ("broken", {}),
        ("aa", name): ("ok", {}),
    }


@pytest.mark.parametrize("order", list(permutations(("one", "two", "three"))))
@pytest.mark.parametrize("known", [True, False])
def test_three_claimants_do_not_depend_on_the_order_of_the_path(
    site, order: tuple[str, ...], known: bool
) -> None:
    for name in order:
        site.write_module(f"site_{name}", CLAIMS.format(name=name))
        folder = site.write_metadata(f"dist-{name}", f"[evenfall]\nsame = site_{name}\n")
        if not known:
            (folder / "METADATA").unlink()
    folders = [str(site.folder / f"dist_{name}-1.2.dist-info") for name in order]
    installed = [PathDistribution(Path(folder)) for folder in folders]
    kinds = {kind: Registry(shared.kind) for kind, shared in registry.ALL.items()}
    manager = PluginManager(kinds, lambda group: discover(group, installed))
    rows = manager.statuses()
    assert sorted(one.status for one in rows) == ["broken", "broken", "ok"]
    assert kinds["models"].names() == ["of-one"]
    assert kinds["models"].get("of-one") is not None


def test_a_plugin_that_cannot_be_read_displaces_no_other(site) -> None:
    site.install("zeta", GOOD, distribution="other")
    folder = site.write_metadata("zeta", "")
    (folder / "entry_points.txt").write_bytes(b"[evenfall]\n\xff\xfe = \x80\n")
    rows = site.manager().statuses()
    assert {one.distribution: one.status for one in rows} == {"other": "ok", "zeta": "broken"}
    (message,) = [one.message for one in rows if one.status == "broken"]
    assert "entry_points.txt cannot be read" in message


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ("def evenfall_register_models(register): yield", "is a generator or async function"),
        ("async def evenfall_register_models(register): pass", "is a generator or async function"),
        (
            "async def evenfall_register_models(register): yield",
            "is a generator or async function",
        ),
        ("def evenfall_register_models(): pass", "must take the argument `register`, got ()"),
        ("def evenfall_register_kernels(): pass", "must take the argument `register`, got ()"),
    ],
)
def test_hook_that_would_register_nothing_is_broken(site, hook: str, words: str) -> None:
    site.install("bad", f"@hookimpl\n{hook}")
    assert words in broken_message(site, "bad")


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.filterwarnings("error")
def test_hook_that_returns_work_to_do_is_broken(site, kind: str) -> None:
    body = "register('never', 'json:loads')" + ("; yield" if kind == "def" else "")
    site.install(
        "bad",
        f"{kind} later(register): {body}\n"
        "@hookimpl\ndef evenfall_register_models(register): return later(register)",
    )
    assert "so its body did not run" in broken_message(site, "bad")


@pytest.mark.parametrize("option", ["optionalhook", "wrapper"])
def test_options_of_hooks_do_not_hide_a_mistake(site, option: str) -> None:
    name = "evenfall_register_modles" if option == "optionalhook" else "evenfall_register_models"
    site.install("bad", f"@hookimpl({option}=True)\ndef {name}(register): yield")
    words = {"optionalhook": "no such hook", "wrapper": "is a hook wrapper"}[option]
    assert words in broken_message(site, "bad")


def test_what_a_plugin_prints_goes_to_stderr(site, capsys: pytest.CaptureFixture[str]) -> None:
    site.install(
        "loud",
        """
        print("at import")

        @hookimpl
        def evenfall_register_models(register):
            print("in a hook")
        """,
    )
    assert row(site.manager().statuses(), "loud").status == "ok"
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "at import\nin a hook\n")


def test_names_and_reasons_have_no_control_characters(site) -> None:
    site.install("red", "raise ValueError('a\\x1b[31m\\u202ereason')")
    folder = site.write_metadata("dist-x", "[evenfall]\nx = site_absent\n")
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: \x1b[2Jx\nVersion: 1\n")
    rows = site.manager().statuses()
    assert "ValueError: a\\x1b[31m\\u202ereason" in row(rows, "red").message
    assert row(rows, "x").distribution == "\\x1b[2Jx"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_while_another_thread_loads_plugins(site) -> None:
    """The child waits for nothing: it finds the plugins loaded, and all locks free."""
    site.install(
        "slow",
        """
        import time
        import site_gate
        site_gate.loading.set()
        time.sleep(0.2)

        @hookimpl
        def evenfall_register_models(register):
            register("slow-model", "fractions:Fraction")
        """,
    )
    site.write_module("site_gate", "import threading\nloading = threading.Event()\n")
    done = site.run("-c", FORK, EVENFALL_PLUGINS="slow")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "['slow-model']\n0\n"


FORK = """
import os, signal, threading
from evenfall import registry
import site_gate

threading.Thread(target=registry.load_plugins).start()
site_gate.loading.wait()
process = os.fork()
if process == 0:
    signal.alarm(600)
    print(registry.models.names(), flush=True)
    os._exit(0)
print(os.waitpid(process, 0)[1])
"""
CLAIMS = """
from evenfall import hookimpl
EVENFALL_API = 1

@hookimpl
def evenfall_register_models(register):
    register("of-{name}", "json:loads")
"""
